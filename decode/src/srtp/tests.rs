//! SRTP against packets of another implementation, and against the ways in which a listener is late.

use super::session::tests::{seal, seal_control};
use super::*;

/// Packets that libsrtp made with one key: sequence numbers 65534, 65535, 0 and 1, and a sender report.
struct Made {
    suite: &'static str,
    mki: Option<Mki>,
    unencrypted: bool,
    packets: [&'static str; 4],
    control: &'static str,
}

/// Made by libsrtp 2.5.0: the key bytes are 3, 10, 17 and so on. The session keys of AES-192 are derived otherwise than RFC 6188
/// says, whose own vectors are in `session`.
const MADE: [Made; 10] = [
    Made {
        suite: "AES_192_CM_HMAC_SHA1_80",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad7b1fa36e4972b420af3bf7e5338caec8278f4a8907b40eaa19cbab3fc5f6",
            "a080ffff009fff60decafbada3c2a1760471beeeaed93bd23382d71ca9220625a9b0b4188eb9064cf000",
            "9100000000000000decafbad01020304bede000110aa000035431695d7c7d13bc86f2c7a6496d8862eae8242482d31916b56937b634f",
            "80000001000000a0decafbad85678f0d6584451c540ef64ee6c3e8a265d2aa851b5f6f5a381dfe9b74f0",
        ],
        control: "80c80006decafbade6883a58b4cb3a5ffae26a3d2842a106529f321180000001a89e3b335c6b0e9dc677",
    },
    Made {
        suite: "AES_192_CM_HMAC_SHA1_32",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad7b1fa36e4972b420af3bf7e5338caec8278f4a8907b40eaa",
            "a080ffff009fff60decafbada3c2a1760471beeeaed93bd23382d71ca9220625a9b0b418",
            "9100000000000000decafbad01020304bede000110aa000035431695d7c7d13bc86f2c7a6496d8862eae8242482d3191",
            "80000001000000a0decafbad85678f0d6584451c540ef64ee6c3e8a265d2aa851b5f6f5a",
        ],
        control: "80c80006decafbade6883a58b4cb3a5ffae26a3d2842a106529f321180000001a89e3b335c6b0e9dc677",
    },
    Made {
        suite: "AES_CM_128_HMAC_SHA1_80",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad8d0b62c49d2fead2f5dbb9da1294c6c0f9a3b2b401340bbf0bd3cace9589",
            "a080ffff009fff60decafbad5f28955b3ac653333318de384c4b33ffd5eb05a9fc76af2a44eff78b0a3a",
            "9100000000000000decafbad01020304bede000110aa00004f987dfb8889d396674fb08c49006e4ab697a0b18129c8256bd0279f24e3",
            "80000001000000a0decafbadfe84c3ae8875e36166619069fe8963e4172bc2b79f44258473c1da08ae6f",
        ],
        control: "80c80006decafbada06ffb491948c4e2e8759638ef9f369a1ee5d804800000014f3d8b8d9b04219e6353",
    },
    Made {
        suite: "AES_CM_128_HMAC_SHA1_80",
        mki: Some(Mki { value: Some(0x102), len: 4 }),
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad8d0b62c49d2fead2f5dbb9da1294c6c0f9a3b2b40000010201340bbf0bd3cace9589",
            "a080ffff009fff60decafbad5f28955b3ac653333318de384c4b33ffd5eb05a900000102fc76af2a44eff78b0a3a",
            "9100000000000000decafbad01020304bede000110aa00004f987dfb8889d396674fb08c49006e4ab697a0b1000001028129c8256bd0279f24e3",
            "80000001000000a0decafbadfe84c3ae8875e36166619069fe8963e4172bc2b7000001029f44258473c1da08ae6f",
        ],
        control: "80c80006decafbada06ffb491948c4e2e8759638ef9f369a1ee5d80480000001000001024f3d8b8d9b04219e6353",
    },
    Made {
        suite: "AES_CM_128_HMAC_SHA1_32",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad8d0b62c49d2fead2f5dbb9da1294c6c0f9a3b2b401340bbf",
            "a080ffff009fff60decafbad5f28955b3ac653333318de384c4b33ffd5eb05a9fc76af2a",
            "9100000000000000decafbad01020304bede000110aa00004f987dfb8889d396674fb08c49006e4ab697a0b18129c825",
            "80000001000000a0decafbadfe84c3ae8875e36166619069fe8963e4172bc2b79f442584",
        ],
        control: "80c80006decafbada06ffb491948c4e2e8759638ef9f369a1ee5d804800000014f3d8b8d9b04219e6353",
    },
    Made {
        suite: "AES_256_CM_HMAC_SHA1_80",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbad6a59a6d83af1eda1c3d4e6947e0420c48dcad38ad55b38ef5a0fb5738f78",
            "a080ffff009fff60decafbad46e2795aefe136226293afa8014728222553b3524a9df3dfbe6e35355df3",
            "9100000000000000decafbad01020304bede000110aa0000b41f7d270d6e438ace2d74016b1ab0d62062753e923200eda0839d426941",
            "80000001000000a0decafbadae73c35e666d87db80c86588562cc9462aeb30cacd5c48585e0916f34eae",
        ],
        control: "80c80006decafbadde7d975f94a457b6ae0f9410650ed6952b90ea6f800000016053fa91c94b43a16916",
    },
    Made {
        suite: "AEAD_AES_128_GCM",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbadeb2d8f480a4eb375d8dc2f90d94afbafebc4168cf12eef024c462b403e29834dccc419ed",
            "a080ffff009fff60decafbad17ea6250982361ea79c089774be72e465b020e62cbaab27f3476c160a51c3e5b4dafe9d8",
            "9100000000000000decafbad01020304bede000110aa00004c171b768b703a3d11b5643528baf97a0502add2131ee6c950ce9c4518f332b4cf42a76d",
            "80000001000000a0decafbad077afd77c15d9753032842ef23691e59cdadc5b92ad4fc2fb58b6ebfaa3d5eb30f35b32e",
        ],
        control: "80c80006decafbad3022b2ce422992663a0b5a22d9f8062b0bf56957ca08e6ffb8f48969de3625ffecadcd5580000001",
    },
    Made {
        suite: "AEAD_AES_256_GCM",
        mki: None,
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbada035a45b510b56ab9da144d02a5fa37ce3f97afedd22d8aa69ac38d595d991a9369443b9",
            "a080ffff009fff60decafbad2ae1afaf4aaf9342ea023510c00700d6edd16a6fd35fb3f333a189ce62f94c4266073926",
            "9100000000000000decafbad01020304bede000110aa00006d6a21d4b0d4c878d68ad7a0ad84ae2694a11498d124e09c20cb7e3aad26f35bc36b77a6",
            "80000001000000a0decafbadbba5939dd5e9a18302dba06e1188700ba11e0fe6119abb8b69a0722b13b2f24a1cb573b3",
        ],
        control: "80c80006decafbad8c2af4a3a19902749e7e10391d7d13d1c9461eb3c0d12c23b2a29a7499433b9f8364c29580000001",
    },
    Made {
        suite: "AEAD_AES_128_GCM",
        mki: Some(Mki { value: Some(5), len: 1 }),
        unencrypted: false,
        packets: [
            "8000fffe009ffec0decafbadeb2d8f480a4eb375d8dc2f90d94afbafebc4168cf12eef024c462b403e29834dccc419ed05",
            "a080ffff009fff60decafbad17ea6250982361ea79c089774be72e465b020e62cbaab27f3476c160a51c3e5b4dafe9d805",
            "9100000000000000decafbad01020304bede000110aa00004c171b768b703a3d11b5643528baf97a0502add2131ee6c950ce9c4518f332b4cf42a76d05",
            "80000001000000a0decafbad077afd77c15d9753032842ef23691e59cdadc5b92ad4fc2fb58b6ebfaa3d5eb30f35b32e05",
        ],
        control: "80c80006decafbad3022b2ce422992663a0b5a22d9f8062b0bf56957ca08e6ffb8f48969de3625ffecadcd558000000105",
    },
    Made {
        suite: "AES_CM_128_HMAC_SHA1_80",
        mki: None,
        unencrypted: true,
        packets: [
            "8000fffe009ffec0decafbad000102030405060708090a0b0c0d0e0f101112130279907deea392c88cfa",
            "a080ffff009fff60decafbad000102030405060708090a0b0c0d0e0f101112139f07323deb0e498d38d4",
            "9100000000000000decafbad01020304bede000110aa0000000102030405060708090a0b0c0d0e0f10111213b5a64e634aec72541438",
            "80000001000000a0decafbad000102030405060708090a0b0c0d0e0f10111213ddba56c4c53c4d0f233e",
        ],
        control: "80c80006decafbad0000000100000002000000030000000400000005000000016f8b7151126d49c225cb",
    },
];

pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("hexadecimal"))
        .collect()
}

pub(super) fn key(suite: &str, master: &str) -> Key {
    let suite = Suite::from_name(suite.as_bytes()).expect("a suite");
    Key::new(suite, &hex(master), None, Parameters::default()).expect("a key that fits")
}

impl Made {
    fn key(&self) -> Key {
        let suite = Suite::from_name(self.suite.as_bytes()).expect("a suite");
        let secret: Vec<u8> = (0..suite.key_len + suite.salt_len()).map(|n| (7 * n + 3) as u8).collect();
        let parameters = Parameters {
            unencrypted_srtp: self.unencrypted,
            unencrypted_srtcp: self.unencrypted,
            ..Parameters::default()
        };
        let key = Key::new(suite, &secret, self.mki, parameters).expect("a key that fits");
        key.as_libsrtp_derives().unwrap_or(key)
    }
}

/// What the packets of [`MADE`] were.
fn clear_packets() -> Vec<Vec<u8>> {
    [
        "8000fffe009ffec0decafbad",
        "a080ffff009fff60decafbad",
        "9100000000000000decafbad01020304bede000110aa0000",
        "80000001000000a0decafbad",
    ]
    .iter()
    .map(|header| hex(header).into_iter().chain(0..20).collect())
    .collect()
}

fn receiver(keys: &[&Key]) -> Receiver {
    let mut receiver = Receiver::default();
    receiver.learn(keys.iter().enumerate().map(|(n, key)| (n as u32, *key)));
    receiver
}

/// An RTP packet with a payload that its sequence number names.
fn packet(sequence: u16) -> Vec<u8> {
    let mut packet = hex("80000000");
    packet[2..].copy_from_slice(&sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(hex("decafbad"));
    packet.extend(sequence.to_be_bytes().repeat(80));
    packet
}

fn any_key(suite: &str, seed: u8) -> Key {
    let suite = Suite::from_name(suite.as_bytes()).expect("a suite");
    let secret: Vec<u8> = (0..suite.key_len + suite.salt_len()).map(|n| n as u8 ^ seed).collect();
    Key::new(suite, &secret, None, Parameters::default()).expect("a key that fits")
}

#[test]
fn packets_of_another_implementation_are_opened_over_the_wrap() {
    for made in &MADE {
        let key = made.key();
        let mut receiver = receiver(&[&key]);
        let mut out = Vec::new();
        for (sealed, clear) in made.packets.iter().zip(clear_packets()) {
            assert!(receiver.open(&hex(sealed), &mut out), "{} {:?}: {sealed}", made.suite, made.mki);
            assert_eq!(out, clear, "{}", made.suite);
        }
    }
}

#[test]
fn of_the_two_ways_to_derive_keys_of_aes_192_the_tag_tells_which_is_meant() {
    let made = &MADE[0];
    let libsrtp = made.key();
    let secret: Vec<u8> = (0..38).map(|n| (7 * n + 3) as u8).collect();
    let standard = Key::new(libsrtp.suite(), &secret, None, Parameters::default()).expect("a key that fits");
    let mut out = Vec::new();
    assert!(!receiver(&[&standard]).open(&hex(made.packets[0]), &mut out));
    let mut both = receiver(&[&standard, &libsrtp]);
    for sealed in made.packets {
        assert!(both.open(&hex(sealed), &mut out));
    }
    assert!(receiver(&[&standard, &libsrtp]).open(&seal(&standard, 0, &packet(1)), &mut out));
    assert_eq!(out, packet(1));
}

#[test]
fn control_packets_of_another_implementation_are_opened() {
    let clear = hex("80c80006decafbad0000000100000002000000030000000400000005");
    for made in &MADE {
        let mut session = ControlSession::new(&made.key());
        let mut out = Vec::new();
        assert!(session.open(&hex(made.control), &mut out), "{} {:?}", made.suite, made.mki);
        assert_eq!(out, clear, "{}", made.suite);
        let mut forged = hex(made.control);
        forged[9] ^= 1;
        assert!(!session.open(&forged, &mut out), "{}", made.suite);
    }
}

#[test]
fn control_packets_are_opened_at_any_place_of_the_stream() {
    let report = hex("80c80006decafbad0000000100000002000000030000000400000005");
    let key = any_key("AES_CM_128_HMAC_SHA1_32", 5);
    let mut session = ControlSession::new(&key);
    let mut out = Vec::new();
    for index in [0, 1, 70_000, 0x7fff_ffff] {
        assert!(session.open(&seal_control(&key, index, &report), &mut out), "{index}");
        assert_eq!(out, report, "{index}");
    }
}

#[test]
fn a_changed_bit_anywhere_is_refused() {
    for made in &MADE {
        let sealed = hex(made.packets[0]);
        let key = made.key();
        let mut out = Vec::new();
        for bit in 0..8 * sealed.len() {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!receiver(&[&key]).open(&forged, &mut out), "{} bit {bit}", made.suite);
        }
        for cut in 0..sealed.len() {
            assert!(!receiver(&[&key]).open(&sealed[..cut], &mut out), "{} cut {cut}", made.suite);
        }
    }
}

#[test]
fn a_listener_that_joins_hours_later_finds_the_counter() {
    for suite in ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"] {
        let key = any_key(suite, 0x42);
        for roc in [0, 1, 3, 4, 17, 255] {
            let mut receiver = receiver(&[&key]);
            let mut out = Vec::new();
            let opened = (0..1000u16)
                .filter(|&n| receiver.open(&seal(&key, roc, &packet(n.wrapping_add(65_000))), &mut out))
                .count();
            assert!(opened >= 536 - 64, "{suite} {roc}: {opened}");
            // Where it has found it, it follows the wrap.
            assert!(receiver.open(&seal(&key, roc + 1, &packet(3)), &mut out), "{suite} {roc}");
            assert_eq!(out, packet(3));
        }
    }
}

#[test]
fn loss_reorder_and_a_gap_of_half_the_numbers_lose_no_packet_that_came() {
    let key = any_key("AES_CM_128_HMAC_SHA1_32", 1);
    let mut receiver = receiver(&[&key]);
    let mut out = Vec::new();
    // Places in the stream: sequence number and counter.
    for index in
        [65_000u32, 65_530, 65_540, 65_529, 65_538, 65_541, 120_000, 131_080, 131_060, 240_000, 240_001]
    {
        let (roc, sequence) = (index >> 16, index as u16);
        assert!(receiver.open(&seal(&key, roc, &packet(sequence)), &mut out), "{index}");
        assert_eq!(out, packet(sequence));
    }
    assert_eq!(receiver.failures(), 0);
}

#[test]
fn old_and_new_keys_are_both_tried_while_packets_cross_the_change() {
    let (old, new) = (any_key("AES_CM_128_HMAC_SHA1_80", 1), any_key("AES_CM_128_HMAC_SHA1_80", 2));
    let mut receiver = Receiver::default();
    let mut out = Vec::new();
    receiver.learn([(1, &old)]);
    assert!(
        receiver.open(&seal(&old, 5, &packet(10)), &mut out)
            || receiver.open(&seal(&old, 5, &packet(11)), &mut out)
    );
    assert!(!receiver.open(&seal(&new, 0, &packet(12)), &mut out));
    receiver.learn([(2, &new), (1, &old)]);
    for (key, roc, sequence) in [(&new, 0, 13), (&old, 5, 12), (&new, 0, 15), (&old, 5, 14), (&new, 0, 16)] {
        assert!(receiver.open(&seal(key, roc, &packet(sequence)), &mut out), "{sequence}");
        assert_eq!(out, packet(sequence));
    }
}

#[test]
fn what_no_key_fits_is_not_opened_and_costs_less_and_less() {
    let keys: Vec<Key> = (0..40).map(|seed| any_key("AES_CM_128_HMAC_SHA1_80", seed)).collect();
    let mut receiver = Receiver::default();
    receiver.learn(keys.iter().enumerate().map(|(n, key)| (n as u32, key)));
    let stranger = any_key("AES_CM_128_HMAC_SHA1_80", 99);
    let mut out = Vec::new();
    for n in 0..2000 {
        assert!(!receiver.open(&seal(&stranger, 0, &packet(n)), &mut out));
    }
    assert_eq!(receiver.failures(), 2000);
    // Of more keys than are kept, the newest are.
    assert!(receiver.open(&seal(&keys[KEYS - 1], 0, &packet(2000)), &mut out));
    assert!(!receiver.open(&seal(&keys[KEYS], 0, &packet(2000)), &mut out));
    receiver.learn([(100, &stranger)]);
    assert!(receiver.open(&seal(&stranger, 0, &packet(2001)), &mut out));
}
const KEYS: usize = receiver::KEYS_MAX;

#[test]
fn session_keys_change_at_the_derivation_rate() {
    let suite = Suite::from_name(b"AES_CM_128_HMAC_SHA1_80").expect("known");
    let parameters = Parameters { kdr_exponent: Some(4), ..Parameters::default() };
    let key = Key::new(suite, &[9; 30], None, parameters).expect("fits");
    let plain = Key::new(suite, &[9; 30], None, Parameters::default()).expect("fits");
    let mut receiver = receiver(&[&key]);
    let mut out = Vec::new();
    for sequence in 0..100 {
        assert!(receiver.open(&seal(&key, 0, &packet(sequence)), &mut out), "{sequence}");
        assert_eq!(out, packet(sequence));
    }
    assert_ne!(seal(&key, 0, &packet(20)), seal(&plain, 0, &packet(20)));
    assert_eq!(seal(&key, 0, &packet(15)), seal(&plain, 0, &packet(15)));
}

#[test]
fn a_key_without_authentication_is_the_last_resort() {
    let suite = Suite::from_name(b"AES_CM_128_HMAC_SHA1_80").expect("known");
    let parameters = Parameters { unauthenticated_srtp: true, ..Parameters::default() };
    let open = Key::new(suite, &[1; 30], None, parameters).expect("fits");
    let other = any_key("AES_CM_128_HMAC_SHA1_80", 3);
    let mut receiver = receiver(&[&open, &other]);
    let mut out = Vec::new();
    for sequence in [1, 2, 3] {
        assert!(receiver.open(&seal(&other, 0, &packet(sequence)), &mut out));
        assert_eq!(out, packet(sequence));
    }
    assert!(receiver.open(&seal(&open, 0, &packet(4)), &mut out));
    assert_eq!(out, packet(4));
}
