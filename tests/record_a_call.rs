//! The Record-A-Call endpoint of a running appliance: a PBX sends it calls, and they become recordings.

mod common;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Bench;
use common::agent::free_port;
use common::appliance::{Appliance, PATIENCE};
use common::pbx::{Call, Conversation, free_ports};
use serde_json::Value;
use xtask::g711::Law;
use xtask::tones;
use xtask::wav::Audio;

/// An appliance with an endpoint, and where that is.
fn start(bench: &Bench, more: &str) -> (Appliance, SocketAddr) {
    let listen = free_port();
    let config =
        format!("[record_a_call]\nlisten = \"{listen}\"\nrtp_ports = \"{}\"\n{more}", free_ports(40));
    (Appliance::start(bench, &config), listen)
}

fn rows(bench: &Bench) -> Vec<Value> {
    bench.run(&["archive", "list", "--json"]).expect_code(0).json()
}

/// The tone in the extension's channel; nothing is in the other one.
#[track_caller]
fn tone(audio: &Audio) -> f64 {
    let loudest = |samples: &[i16]| tones::level_dbfs(samples);
    if let Some(other) = audio.channels.get(1) {
        assert!(loudest(other) < -60.0, "a mixed stream is one track");
    }
    let tone = tones::detect(&audio.channels[0], audio.rate, 300..=3_400).expect("a tone");
    assert!(tone.purity > 0.9, "{tone:?}");
    tone.hz
}

fn of_call<'r>(rows: &'r [Value], call_id: &str) -> &'r Value {
    rows.iter().find(|row| row["sip_call_ids"][0] == call_id).expect("a recording of the call")
}

#[test]
fn eight_calls_at_once_are_recorded_and_the_ninth_is_refused() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "");
    let ids: Vec<String> = (0..8).map(|n| format!("call-{n}")).collect();
    let calls: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| {
            let mut call =
                Call::begin(at, &format!("<sip:{}@127.0.0.1>", 2_000 + n), id, "").expect("answered");
            std::thread::spawn(move || {
                call.talk(Law::A, 500.0 + 250.0 * n as f64, 3_000);
                call.end();
            })
        })
        .collect();
    let refused = Call::begin(at, "<sip:2008@127.0.0.1>", "one-too-many", "").err().expect("refused");
    assert_eq!(refused, "SIP/2.0 486 Busy Here (8 of 8 channels in use)");
    let status = running.wait_for("/status", |status| status["calls"] == 8);
    assert_eq!((&status["record_a_call"]["calls"], &status["record_a_call"]["busy"]), (&8.into(), &1.into()));
    let metrics = running.get(running.metrics, "/metrics").1;
    for line in [
        "earwitness_record_a_call_running 8",
        "earwitness_record_a_call_invites_total{answer=\"answered\"} 8",
        "earwitness_record_a_call_invites_total{answer=\"busy\"} 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} in {metrics}");
    }
    calls.into_iter().for_each(|call| call.join().expect("it has spoken"));
    running.wait_for("/status", |status| status["calls"] == 0 && status["outcomes"]["no_channel"] == 1);
    running.stop();

    let rows = rows(&bench);
    assert_eq!(rows.len(), 8);
    let exports = bench.exports();
    for (n, id) in ids.iter().enumerate() {
        let row = of_call(&rows, id);
        assert_eq!((&row["source"], &row["state"]), (&"record-a-call".into(), &"complete".into()));
        assert_eq!(row["extension"], (2_000 + n).to_string());
        assert_eq!(row["tracks"].as_array().map(Vec::len), Some(1));
        let packets = (row["tracks"][0]["packets"].as_u64(), row["tracks"][0]["lost_network"].as_u64());
        assert_eq!(packets, (Some(150), Some(0)));
        assert_eq!(row.get("one_way"), None, "the recorder is nobody's other party");
        let (_, audio) = exports.iter().find(|(name, _)| row["id"] == name.as_str()).expect("an export");
        assert!((tone(audio) - (500.0 + 250.0 * n as f64)).abs() < 1.0);
    }
    let refused = bench.run(&["calls", "--outcome", "no_channel", "--json"]).expect_code(0).json();
    assert_eq!(refused[0]["sip_call_ids"][0], "one-too-many");
    let reason = refused[0]["reason"].as_str().expect("a reason");
    assert_eq!(reason, "no channel was free: refused with 486 Busy Here (8 of 8 channels in use)");
    bench.run(&["archive", "verify"]).expect_code(0);
}

#[test]
fn the_extension_is_whom_the_pbx_names_and_the_recording_says_what_named_it() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "[site]\nextensions = \"2000-2999\"\n");
    let named = [
        ("from", "\"Ann\" <sip:2001@127.0.0.1>", ""),
        ("diversion", "<sip:01632960001@127.0.0.1>", "Diversion: <sip:2002@127.0.0.1>;reason=unknown\r\n"),
        (
            "asserted",
            "<sip:anonymous@anonymous.invalid>",
            "P-Asserted-Identity: \"Cy\" <sip:2003@127.0.0.1>\r\n",
        ),
    ];
    for (id, from, more) in named {
        let mut call = Call::begin(at, from, id, more).expect("answered");
        call.talk(Law::A, 800.0, 400);
        call.end();
    }
    running.wait_for("/status", |status| status["outcomes"]["recorded"] == 3);
    running.stop();
    let rows = rows(&bench);
    let known = |id: &str| {
        let row = of_call(&rows, id);
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        [text("extension"), text("other_party"), text("direction"), text("named_by")]
    };
    assert_eq!(known("from"), ["2001", "5999", "unknown", "From (From 2001, application 5999)"]);
    assert_eq!(
        known("diversion"),
        ["2002", "01632960001", "inbound", "Diversion (Diversion 2002, From 01632960001, application 5999)"]
    );
    assert_eq!(known("asserted")[0], "2003");
    let shown = bench.run(&["archive", "show", of_call(&rows, "diversion")["id"].as_str().expect("an id")]);
    assert!(shown.expect_code(0).stdout().contains("named by       Diversion (Diversion 2002, "));
}

#[test]
fn hold_and_another_codec_stay_one_recording_of_the_right_length() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "silence_s = 5\n");
    let mut call = Call::begin(at, "<sip:2001@127.0.0.1>", "changes", "").expect("answered");
    call.talk(Law::A, 1_000.0, 1_500);
    let held = call.change("8 0 101", "inactive");
    assert!(held.contains("a=inactive\r\n"), "{held}");
    call.pause(2_000);
    let retrieved = call.change("0 101", "sendrecv");
    assert!(retrieved.contains("RTP/AVP 0 101\r\n") && retrieved.contains("a=recvonly\r\n"), "{retrieved}");
    call.talk(Law::Mu, 1_000.0, 1_500);
    // It sends nothing, and no echo above all.
    assert_eq!(call.heard(), Vec::<Vec<u8>>::new());
    call.end();
    running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
    running.stop();
    let rows = rows(&bench);
    assert_eq!(rows.len(), 1);
    let length = rows[0]["duration_ms"].as_u64().expect("a length");
    assert!((4_900..5_400).contains(&length), "{length}");
    assert_eq!(rows[0]["holds"].as_array().map(Vec::len), Some(1), "{}", rows[0]["holds"]);
    let (_, audio) = bench.exports().remove(0);
    let rate = audio.rate as usize;
    for talk in [&audio.channels[0][..rate], &audio.channels[0][audio.channels[0].len() - rate..]] {
        let tone = tones::detect(talk, audio.rate, 300..=3_400).expect("a tone");
        assert!((tone.hz - 1_000.0).abs() < 1.0 && tone.purity > 0.9, "{tone:?}");
    }
    let middle = &audio.channels[0][audio.rate as usize * 2..audio.rate as usize * 3];
    assert!(tones::level_dbfs(middle) < -60.0, "on hold it is silent");
}

#[test]
fn a_pbx_that_is_gone_is_hung_up_on() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "silence_s = 5\n");
    let mut call = Call::begin(at, "<sip:2001@127.0.0.1>", "gone", "").expect("answered");
    call.talk(Law::A, 1_000.0, 1_000);
    let silent = Instant::now();
    call.wait_for_bye();
    assert!((4..15).contains(&silent.elapsed().as_secs()), "{:?}", silent.elapsed());
    let status = running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
    assert_eq!(
        (&status["record_a_call"]["calls"], &status["record_a_call"]["silent"]),
        (&0.into(), &1.into())
    );
    running.stop();
    assert_eq!(rows(&bench)[0]["state"], "complete");
}

#[test]
fn after_a_kill_the_audio_is_there_and_the_endpoint_answers_at_once() {
    let bench = Bench::new();
    let listen = free_port();
    let config = format!("[record_a_call]\nlisten = \"{listen}\"\nrtp_ports = \"{}\"\n", free_ports(40));
    let mut running = Appliance::start(&bench, &config);
    let mut call = Call::begin(listen, "<sip:2001@127.0.0.1>", "killed", "").expect("answered");
    call.talk(Law::A, 1_000.0, 3_000);
    running.child.kill().expect("kills");
    running.child.wait().expect("is gone");

    // The same file, by hand: what is measured is the time from the start to the first answer.
    let begun = Instant::now();
    let mut again = common::earwitness()
        .args(["run", "-c"])
        .arg(bench.path("earwitness.toml"))
        .arg("-a")
        .arg(bench.archive())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let own = socket.local_addr().expect("bound");
    let options = format!(
        "OPTIONS sip:{listen} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK1;rport\r\nFrom: <sip:{own}>;tag=1\r\n\
         To: <sip:{listen}>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let mut buffer = [0; 2_048];
    loop {
        // A port that nobody has yet refuses this.
        let _ = socket.send_to(options.as_bytes(), listen);
        if let Ok(length) = socket.recv(&mut buffer) {
            if buffer[..length].starts_with(b"SIP/2.0 200 ") {
                break;
            }
            // Until what it receives is recorded.
            assert!(buffer[..length].starts_with(b"SIP/2.0 503 "));
            std::thread::park_timeout(Duration::from_millis(10));
        }
        assert!(begun.elapsed() < PATIENCE, "no answer");
    }
    let answered = begun.elapsed();
    eprintln!("answered {answered:?} after the start");
    let told = Command::new("kill").args(["-TERM", &again.id().to_string()]).status();
    assert!(told.expect("kill runs").success());
    assert_eq!(again.wait().expect("it ends").code(), Some(0));
    // Measured in the reports of a quiet machine; here it must be within what a busy one needs.
    assert!(answered < Duration::from_secs(10), "{answered:?}");

    let rows = rows(&bench);
    assert_eq!((rows.len(), &rows[0]["state"]), (1, &"interrupted".into()));
    let (_, audio) = bench.exports().remove(0);
    let ms = audio.channels[0].len() as u64 * 1_000 / u64::from(audio.rate);
    assert!((2_000..=3_100).contains(&ms), "{ms}");
    assert!((tone(&audio) - 1_000.0).abs() < 1.0);
}

#[test]
fn an_announcement_is_played_to_the_parties_and_the_recording_may_begin_behind_it() {
    for (record_from, packets) in [("start", 100), ("announcement-end", 50)] {
        let bench = Bench::new();
        let samples: Vec<i16> = (0..16_000)
            .map(|n| ((std::f64::consts::TAU * 440.0 * f64::from(n) / 16_000.0).sin() * 8_000.0) as i16)
            .collect();
        let file = xtask::wav::build(&Audio { rate: 16_000, channels: vec![samples] });
        std::fs::write(bench.path("recorded.wav"), file).expect("writes");
        let folder = bench.path("");
        let (running, at) = start(
            &bench,
            &format!(
                "announcements = {folder:?}\nannouncement = \"recorded.wav\"\nrecord_from = {record_from:?}\n"
            ),
        );
        let mut call = Call::begin(at, "<sip:2001@127.0.0.1>", "told", "").expect("answered");
        call.talk(Law::A, 1_000.0, 2_000);
        let said: Vec<i16> = call.heard().concat().into_iter().map(|byte| Law::A.decode(byte)).collect();
        assert_eq!(said.len(), 8_000, "a second, and then nothing");
        let heard = tones::detect(&said, 8_000, 300..=3_400).expect("a tone");
        assert!((heard.hz - 440.0).abs() < 1.0 && heard.purity > 0.9, "{heard:?}");
        call.end();
        running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
        running.stop();
        let kept = rows(&bench)[0]["tracks"][0]["packets"].as_u64().expect("packets");
        assert!(kept.abs_diff(packets) <= 5, "{record_from}: {kept}");
    }
}

#[test]
fn who_is_not_named_is_not_answered_and_words_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "from = [\"192.0.2.10\"]\n");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    socket
        .send_to(b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1;rport\r\n\r\n", at)
        .expect("sent");
    assert!(socket.recv(&mut [0; 100]).is_err());
    running.wait_for("/status", |status| status["record_a_call"]["strangers"] == 1);
    running.stop();

    let bench = Bench::new();
    std::fs::write(bench.path("c.toml"), "[record_a_call]\nlisten = \"127.0.0.1:1\"\nchannels = 90\n")
        .expect("writes");
    let config = bench.path("c.toml");
    let run = bench.run(&["run", "-c", config.to_str().expect("a plain path")]);
    assert!(run.expect_code(78).stderr().contains("record_a_call.channels: 1 to 50"));
}

#[test]
fn a_recording_session_becomes_two_tracks_with_their_parties_named() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "[site]\nextensions = \"2000-2999\"\n");
    let mut call = Call::begin_session(
        at,
        "siprec",
        [("bob", "tel:01632960001", "Bob"), ("ann", "sip:2001@pbx.example", "Ann Bell")],
    );
    call.talk_both(Law::A, [700.0, 1_300.0], 2_000);
    call.end();
    running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
    running.stop();
    let rows = rows(&bench);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!((&row["extension"], &row["extension_name"]), (&"2001".into(), &"Ann Bell".into()));
    assert_eq!((&row["other_party"], &row["other_party_name"]), (&"01632960001".into(), &"Bob".into()));
    assert_eq!((&row["source"], &row["named_by"]), (&"record-a-call".into(), &"SIPREC metadata".into()));
    assert_eq!(row["tracks"].as_array().map(Vec::len), Some(2));
    let (_, audio) = bench.exports().remove(0);
    for (channel, hz) in audio.channels.iter().zip([1_300.0, 700.0]) {
        let tone = tones::detect(channel, audio.rate, 300..=3_400).expect("a tone");
        assert!((tone.hz - hz).abs() < 1.0 && tone.purity > 0.9, "the extension is on the left: {tone:?}");
    }
}

#[test]
fn who_joins_a_recording_session_later_is_named_in_the_recording() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "[site]\nextensions = \"2000-2999\"\n");
    let mut call = Call::begin_session(
        at,
        "joins",
        [("bob", "tel:01632960001", "Bob"), ("ann", "sip:2001@pbx.example", "Ann Bell")],
    );
    call.talk_both(Law::A, [700.0, 1_300.0], 1_000);
    // Part of the metadata alone (RFC 7866, 7.1).
    let answer = call.ask(
        "UPDATE",
        "--b\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n\
         <recording xmlns='urn:ietf:params:xml:ns:recording:1'><datamode>partial</datamode><participant participant_id='cy'>\
         <nameID aor='tel:01632960077'><name>Cy</name></nameID></participant></recording>\r\n--b--\r\n",
    );
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    call.end();
    running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
    running.stop();
    let row = rows(&bench).remove(0);
    assert_eq!((&row["extension"], &row["other_party"]), (&"2001".into(), &"01632960001".into()));
    assert_eq!((&row["outside_number"], &row["contact"]), (&"01632960077".into(), &"Cy".into()));
}

/// Tells of a conversation; gives the answer.
fn report(running: &Appliance, event: &str, uri: &str, more: &str) -> (u16, Value) {
    running.api("POST", "/events", &format!("{{\"event\": {event:?}, \"uri\": {uri:?}{more}}}"))
}

#[test]
fn a_conversation_is_joined_when_a_report_says_so_and_left_by_either_side() {
    for by_event in [true, false] {
        let bench = Bench::new();
        let (running, at) = start(&bench, "join = [\"127.0.0.1\"]\n[site]\nextensions = \"2000-2999\"\n");
        let mut conversation = Conversation::ready(at);
        let uri = conversation.uri();
        let established = || report(&running, "established", &uri, ", \"extension\": \"2001\"");
        let (status, told) = established();
        assert_eq!(status, 200, "{told}");
        let refused = established().1.to_string();
        assert!(refused.contains("it was joined before"), "{refused}");
        let invite = conversation.let_in();
        assert!(invite.contains("a=recvonly\r\n"), "{invite}");
        conversation.talk(Law::A, 900.0, 2_000);
        assert_eq!(conversation.heard(), Vec::<Vec<u8>>::new());
        if by_event {
            let (status, told) = report(&running, "cleared", &uri, "");
            assert_eq!(status, 200, "{told}");
            conversation.wait_for("BYE");
            conversation.answer("200 OK", "");
        } else {
            conversation.hang_up();
        }
        let status = running.wait_for("/status", |status| status["outcomes"]["recorded"] == 1);
        let counted = ["calls", "joined", "not_joined"].map(|name| status["record_a_call"][name].as_u64());
        assert_eq!(counted, [Some(0), Some(1), Some(1)]);
        running.stop();
        let rows = rows(&bench);
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((&row["extension"], &row["source"]), (&"2001".into(), &"record-a-call".into()));
        assert_eq!(row["named_by"], "feed (feed 2001)");
        assert_eq!(row["tracks"].as_array().map(Vec::len), Some(1));
        let (_, audio) = bench.exports().remove(0);
        assert!((tone(&audio) - 900.0).abs() < 1.0);
    }
}

#[test]
fn only_conversations_at_listed_addresses_are_joined() {
    let bench = Bench::new();
    let (running, _) = start(&bench, "");
    let told =
        report(&running, "established", "sip:conf@127.0.0.1", ", \"extension\": \"2001\"").1.to_string();
    assert!(told.contains("record_a_call.join"), "{told}");
    running.stop();
}

#[test]
fn digits_that_do_come_pause_as_on_a_mirror_port() {
    let bench = Bench::new();
    let (running, at) = start(&bench, "[[pause.code]]\nname = \"card\"\npause = \"12\"\nresume = \"4#\"\n");
    for (nth, name) in (1..).zip(["digits", "info"]) {
        let key = |call: &mut Call, digit| match name {
            "info" => call.key_by_info(digit),
            _ => call.key(digit, 100),
        };
        let mut call = Call::begin(at, "<sip:2001@127.0.0.1>", name, "").expect("answered");
        call.talk(Law::A, 1_000.0, 1_000);
        for (digits, hz) in [("12", 1_500.0), ("4#", 1_000.0)] {
            digits.chars().for_each(|digit| key(&mut call, digit));
            call.talk(Law::A, hz, 1_000);
        }
        call.end();
        running.wait_for("/status", |status| status["outcomes"]["recorded"] == nth);
    }
    running.stop();
    for (row, (_, audio)) in rows(&bench).iter().zip(bench.exports()) {
        let pauses = row["pauses"].as_array().expect("pauses");
        assert_eq!(pauses.len(), 1, "{pauses:?}");
        assert!((tone(&audio) - 1_000.0).abs() < 1.0, "nothing of what was said in the pause");
        let rate = audio.rate as usize;
        let paused = &audio.channels[0][rate * 17 / 10..rate * 20 / 10];
        assert!(tones::level_dbfs(paused) < -60.0, "in the pause it is silent");
    }
}

#[test]
fn a_pbx_says_who_it_is_and_the_recorder_does_at_the_pbx() {
    let bench = Bench::new();
    common::appliance::private(&bench.path("digest"), "open sesame\n");
    let mut registrar = Conversation::ready(free_port());
    let config = format!(
        "[record_a_call.digest]\nuser = \"pbx\"\npassword_file = {file:?}\n\
         [record_a_call.register]\nregistrar = {:?}\nuser = \"5999\"\npassword_file = {file:?}\n",
        registrar.uri().split('@').nth(1).expect("an address"),
        file = bench.path("digest")
    );
    let started = std::thread::spawn(move || {
        registrar.wait_for("REGISTER");
        registrar.answer("401 Who\r\nWWW-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"", "");
        let second = registrar.wait_for("REGISTER");
        registrar.answer("200 OK\r\nExpires: 60", "");
        second
    });
    let (running, at) = start(&bench, &config);
    let register = started.join().expect("it registers");
    // MD5 over user, realm and password; over method and URI; with the client's own word and a count.
    assert!(register.contains("username=\"5999\"") && register.contains("nc=00000001"), "{register}");
    let status =
        running.wait_for("/status", |status| status["record_a_call"]["registration"] == "registered");
    assert_eq!(status["record_a_call"]["not_registered"], 0);
    let metrics = running.get(running.metrics, "/metrics").1;
    assert!(metrics.lines().any(|line| line == "earwitness_record_a_call_registered 1"), "{metrics}");

    let refused = Call::begin(at, "<sip:2001@127.0.0.1>", "stranger", "").err();
    assert_eq!(refused.as_deref(), Some("SIP/2.0 401 Unauthorized"));
    let counted = running.wait_for("/status", |status| status["record_a_call"]["challenged"] == 1);
    assert_eq!((&counted["record_a_call"]["invites"], &counted["calls"]), (&0.into(), &0.into()));
    running.stop();
}

/// SIPp's own way of a call with audio: it reads the answer, sends a file as RTP, and hangs up.
const SCENARIO: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="Record-A-Call">
  <send retrans="500"><![CDATA[
INVITE sip:5999@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:NUMBER@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:5999@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:pbx@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[local_ip_type] [local_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=ptime:20
]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rtd="true" crlf="true"/>
  <send><![CDATA[
ACK sip:5999@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:NUMBER@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:5999@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
  <nop><action><exec rtp_stream="TONE,-1,8"/></action></nop>
  <pause milliseconds="3000"/>
  <send retrans="500"><![CDATA[
BYE sip:5999@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:NUMBER@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:5999@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
  <recv response="200" crlf="true"/>
</scenario>
"#;

/// Is SIPp here (Debian: sip-tester)?
fn has_sipp() -> bool {
    let runs = Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !runs {
        eprintln!(
            "not tested: SIPp is not here (Debian's package sip-tester; `make setup-test` installs it)"
        );
    }
    runs
}

/// Two seconds of a tone that begins again where it ends.
fn write_tone(path: &Path, hz: f64) {
    let tone = |n: u32| ((std::f64::consts::TAU * hz * f64::from(n) / 8_000.0).sin() * 8_000.0) as i16;
    let bytes: Vec<u8> = (0..16_000).map(|n| Law::A.encode(tone(n))).collect();
    std::fs::File::create(path).and_then(|mut file| file.write_all(&bytes)).expect("writes");
}

#[test]
fn calls_of_sipp_are_recorded_over_udp_and_tcp() {
    if !has_sipp() {
        return;
    }
    let bench = Bench::new();
    let (running, at) = start(&bench, "");
    let calls: Vec<_> = (0..8_u32)
        .map(|n| {
            let (tone, scenario) = (bench.path(&format!("{n}.al")), bench.path(&format!("{n}.xml")));
            let hz = 500.0 + 250.0 * f64::from(n);
            write_tone(&tone, hz);
            let number = (2_100 + n).to_string();
            let text =
                SCENARIO.replace("NUMBER", &number).replace("TONE", tone.to_str().expect("a plain path"));
            std::fs::write(&scenario, text).expect("writes");
            let child = Command::new("sipp")
                .arg(at.to_string())
                .args(["-sf", scenario.to_str().expect("a plain path"), "-m", "1", "-nostdin"])
                .args(["-i", "127.0.0.1", "-p", &free_port().port().to_string()])
                .args(["-mp", free_ports(4).split('-').next().expect("a port")])
                .args(["-t", if n % 2 == 0 { "u1" } else { "t1" }, "-timeout", "60"])
                .current_dir(bench.path(""))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("SIPp runs");
            (number, hz, child)
        })
        .collect();
    let mut expected = Vec::new();
    for (number, hz, child) in calls {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        expected.push((number, hz));
    }
    running.wait_for("/status", |status| status["outcomes"]["recorded"] == 8);
    running.stop();
    let (rows, exports) = (rows(&bench), bench.exports());
    for (number, hz) in expected {
        let row = rows.iter().find(|row| row["extension"] == number.as_str()).expect("a recording");
        let length = row["duration_ms"].as_u64().expect("a length");
        assert!((2_800..3_500).contains(&length), "{number}: {length}");
        let (_, audio) = exports.iter().find(|(name, _)| row["id"] == name.as_str()).expect("an export");
        assert!((tone(audio) - hz).abs() < 1.0, "{number}");
    }
}
