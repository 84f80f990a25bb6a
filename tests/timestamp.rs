//! Time stamps of a real authority (`openssl ts`), over HTTP and HTTPS, and of authorities that lie, stall or babble. Where
//! openssl is not installed, nothing is tested and the test says so.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{Bench, Run};

/// How an authority behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// Answers for another request of the same hash.
    OtherNonce,
    /// Stamps another hash.
    OtherImprint,
    Garbage,
    /// Never stops sending.
    Endless,
    /// Says no, in the protocol.
    Refuses,
    /// Says no, in HTTP.
    Broken,
}

/// A certificate authority, a time-stamp authority under it, and what both need in a folder.
struct Tsa {
    dir: PathBuf,
}

const CONFIG: &str = "[ca]\nbasicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign\n\
    [tsa]\nextendedKeyUsage = critical, timeStamping\nkeyUsage = critical, digitalSignature\n\
    [web]\nsubjectAltName = DNS:localhost\nbasicConstraints = CA:false\n\
    [req]\ndistinguished_name = name\n[name]\n\
    [tsa_section]\nserial = serial\ncrypto_device = builtin\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\n\
    digests = sha256\naccuracy = secs:1\nordering = yes\ntsa_name = yes\ness_cert_id_chain = no\ness_cert_id_alg = HASH\n\
    signer_cert = tsa.pem\nsigner_key = tsa.key\ncerts = ca.pem\n[ts]\ndefault_tsa = tsa_section\n";

impl Tsa {
    /// None without openssl. `key` are its words for the authority's key, `hash` names its certificate in tokens.
    fn new(dir: PathBuf, key: &[&str], hash: &str) -> Option<Tsa> {
        std::fs::create_dir_all(&dir).expect("a folder");
        let tsa = Tsa { dir };
        if let Err(error) = Command::new("openssl").arg("version").stdout(Stdio::null()).status() {
            eprintln!("skipped: openssl: {error}");
            return None;
        }
        std::fs::write(tsa.path("tsa.cnf"), CONFIG.replace("HASH", hash)).expect("written");
        std::fs::write(tsa.path("serial"), "01\n").expect("written");
        let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let common = ["-x509", "-nodes", "-days", "2", "-config", "tsa.cnf"];
        let make = |name: &str, key: &[&str], rest: &[&str]| {
            let (pem, private) = (format!("{name}.pem"), format!("{name}.key"));
            let subject = format!("/CN={name}");
            let out = ["-subj", &subject, "-out", &pem, "-keyout", &private];
            tsa.openssl(&[&["req"], &common[..], key, &out[..], rest].concat());
        };
        make("ca", &p256, &["-extensions", "ca"]);
        make("stranger", &p256, &["-extensions", "ca"]);
        make("tsa", key, &["-extensions", "tsa", "-CA", "ca.pem", "-CAkey", "ca.key"]);
        make("web", &p256, &["-extensions", "web", "-CA", "ca.pem", "-CAkey", "ca.key"]);
        Some(tsa)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    #[track_caller]
    fn openssl(&self, words: &[&str]) -> String {
        let out = Command::new("openssl").args(words).current_dir(&self.dir).output().expect("openssl runs");
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(out.status.success(), "openssl {words:?}: {text}");
        text
    }

    /// The reply to a request.
    fn reply(&self, query: &[u8], manner: Manner) -> Vec<u8> {
        let imprint = 32 + query.windows(2).position(|two| two == [4, 32]).expect("a hash") + 2;
        let mut query = query.to_vec();
        match manner {
            Manner::Garbage => return b"<html>time is money</html>".to_vec(),
            Manner::OtherImprint => query[imprint - 1] ^= 1,
            Manner::OtherNonce => {
                let hash: String = query[imprint - 32..imprint].iter().map(|b| format!("{b:02x}")).collect();
                self.openssl(&["ts", "-query", "-sha256", "-digest", &hash, "-cert", "-out", "other.tsq"]);
                query = std::fs::read(self.path("other.tsq")).expect("read");
            }
            // A hash of a kind that this authority does not take.
            Manner::Refuses => query[imprint - 36] ^= 2,
            _ => {}
        }
        std::fs::write(self.path("q.tsq"), query).expect("written");
        let words = [
            "ts",
            "-reply",
            "-config",
            "tsa.cnf",
            "-section",
            "tsa_section",
            "-queryfile",
            "q.tsq",
            "-out",
            "r.tsr",
        ];
        self.openssl(&words);
        std::fs::read(self.path("r.tsr")).expect("read")
    }

    /// Serves requests one after the other, each in its own manner, then stops.
    fn serve(self: &Arc<Tsa>, manners: &'static [Manner], tls: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let tsa = Arc::clone(self);
        std::thread::spawn(move || {
            for &manner in manners {
                let (stream, _) = listener.accept().expect("a client");
                if tls { tsa.answer(tsa.encrypted(stream), manner) } else { tsa.answer(stream, manner) }
            }
        });
        at
    }

    fn encrypted(&self, stream: TcpStream) -> impl Read + Write + use<> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let certificate = CertificateDer::from_pem_file(self.path("web.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.path("web.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocols")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate");
        let session = rustls::ServerConnection::new(Arc::new(config)).expect("a session");
        rustls::StreamOwned::new(session, stream)
    }

    fn answer(&self, stream: impl Read + Write, manner: Manner) {
        let mut stream = BufReader::new(stream);
        let mut len = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) <= 2 {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = value.trim().parse().expect("a length");
            }
        }
        let mut query = vec![0; len];
        if len == 0 || stream.read_exact(&mut query).is_err() {
            return;
        }
        let stream = stream.get_mut();
        let head = "Content-Type: application/timestamp-reply\r\nConnection: close\r\n";
        match manner {
            Manner::Broken => drop(write!(stream, "HTTP/1.1 503 Tea\r\n{head}Content-Length: 0\r\n\r\n")),
            Manner::Endless => {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n");
                // Ends when the client has had enough.
                while stream.write_all(&[0x30; 4096]).is_ok() {}
            }
            _ => {
                let reply = self.reply(&query, manner);
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", reply.len());
                let _ = stream.write_all(&reply);
            }
        }
        let _ = stream.flush();
    }
}

/// An archive with some calls in it, and a configuration that names an authority.
struct Office {
    bench: Bench,
    tsa: Arc<Tsa>,
}

impl Office {
    fn new(key: &[&str], hash: &str) -> Option<Office> {
        let bench = Bench::new();
        let tsa = Arc::new(Tsa::new(bench.path("tsa"), key, hash)?);
        bench.record(Path::new("pcaps/demo/01-inbound.pcap"));
        std::fs::create_dir(bench.path("witness")).expect("a folder");
        Some(Office { bench, tsa })
    }

    fn configure(&self, address: &str) -> String {
        let path = self.bench.path("earwitness.toml");
        let witness = self.bench.path("witness");
        let text = format!("[evidence]\ncheckpoints = [{witness:?}]\ntimestamp = {address:?}\n");
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a plain path").to_owned()
    }

    /// Has a stamp made by hand; `more` are words of the environment.
    fn stamp(&self, address: &str, trusting: Option<&Path>) -> Run {
        let config = self.configure(address);
        let out = self.bench.path("note.checkpoint");
        let words = ["archive", "checkpoint", "--stamp", "-c", &config, "-o", out.to_str().expect("plain")];
        let mut command = common::earwitness();
        command.args(words).env("EARWITNESS_ARCHIVE", self.bench.archive());
        command.env("SSL_CERT_FILE", trusting.unwrap_or(Path::new("/nonexistent")));
        Run(command.output().expect("the program runs"))
    }

    fn verify(&self, ca: Option<&str>) -> Run {
        let mut words = vec!["archive".to_owned(), "verify".into()];
        if let Some(ca) = ca {
            words.extend(["--tsa-ca".into(), self.tsa.path(ca).to_str().expect("plain").to_owned()]);
        }
        self.bench.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

#[test]
fn a_stamp_is_kept_in_the_ledger_beside_the_copies_and_holds_for_openssl_too() {
    let Some(office) = Office::new(P256, "sha256") else { return };
    let at = office.tsa.serve(&[Manner::Honest], false);
    office.stamp(&format!("http://{at}/tsr"), None).expect_code(0);
    let openssl = |note: &Path, reply: &Path| {
        let words =
            ["ts", "-verify", "-data", note.to_str().expect("plain"), "-in", reply.to_str().expect("plain")];
        office.tsa.openssl(&[&words[..], &["-CAfile", "ca.pem"]].concat())
    };
    let note = office.bench.path("note.checkpoint");
    assert!(openssl(&note, &office.bench.path("note.tsr")).contains("Verification: OK"));
    let copies: Vec<PathBuf> = common::files_in(&office.bench.path("witness"))
        .into_iter()
        .filter(|p| p.to_string_lossy().contains("-stamped-"))
        .collect();
    let [kept, reply] = &copies[..] else { panic!("two files: {copies:?}") };
    assert_eq!(std::fs::read(kept).expect("read"), std::fs::read(&note).expect("read"));
    assert!(reply.extension().is_some_and(|end| end == "tsr"));
    assert!(openssl(kept, reply).contains("Verification: OK"));

    // From the ledger alone, as docs/evidence.md says.
    let events = office.bench.run(&["archive", "log", "--json"]).expect_code(0).json();
    let event = events.iter().find(|event| event["event"] == "stamped").expect("an event");
    assert_eq!(
        event["checkpoint"].as_str().map(str::as_bytes),
        Some(&std::fs::read(&note).expect("read")[..])
    );
    let token = store::reply_of_token(event["token"].as_str().expect("a token")).expect("a token");
    std::fs::write(office.tsa.path("ledger.tsr"), token).expect("written");
    assert!(openssl(&note, &office.tsa.path("ledger.tsr")).contains("Verification: OK"));

    let said = office.verify(None).expect_code(0).stdout();
    assert!(
        said.contains("1 time stamps fit the ledger")
            && said.contains("not checked against a certificate authority"),
        "{said}"
    );
    let said = office.verify(Some("ca.pem")).expect_code(0).stdout();
    assert!(said.contains("signed by a given authority"), "{said}");
    let said = office.verify(Some("stranger.pem")).expect_code(5).stdout();
    assert!(said.contains("a time stamp does not hold"), "{said}");
    let config = office.configure("http://localhost/");
    let said = office.bench.run(&["archive", "verify", "-c", &config]).expect_code(0).stdout();
    assert!(said.contains("2 checkpoints kept elsewhere"), "the stamped one counts: {said}");
}

#[test]
fn rsa_and_certificates_named_by_sha_1_hold_too_and_https_is_spoken() {
    let Some(office) = Office::new(&["-newkey", "rsa:2048"], "sha1") else { return };
    let port = office.tsa.serve(&[Manner::Honest, Manner::Honest], true).port();
    let address = format!("https://localhost:{port}/");
    let run = office.stamp(&address, Some(&office.tsa.path("stranger.pem"))).expect_code(1);
    assert!(run.stderr().contains("no time stamp"), "a server that nobody vouches for: {}", run.stderr());
    office.stamp(&address, Some(&office.tsa.path("ca.pem"))).expect_code(0);
    let said = office.verify(Some("ca.pem")).expect_code(0).stdout();
    assert!(said.contains("signed by a given authority"), "{said}");
}

#[test]
fn an_authority_that_lies_babbles_or_refuses_is_not_believed() {
    let Some(office) = Office::new(P256, "sha256") else { return };
    let cases: &[(Manner, &str)] = &[
        (Manner::OtherNonce, "answers another request"),
        (Manner::OtherImprint, "stamps something else"),
        (Manner::Garbage, "no time-stamp reply"),
        (Manner::Endless, "limit"),
        (Manner::Refuses, "it refuses: it does not know the hash"),
        (Manner::Broken, "503"),
    ];
    let at = office.tsa.serve(
        &[
            Manner::OtherNonce,
            Manner::OtherImprint,
            Manner::Garbage,
            Manner::Endless,
            Manner::Refuses,
            Manner::Broken,
        ],
        false,
    );
    for (manner, why) in cases {
        let run = office.stamp(&format!("http://{at}/"), None).expect_code(1);
        assert!(run.stderr().contains(why), "{manner:?}: {}", run.stderr());
    }
    let run = office.stamp(&format!("http://{at}/"), None).expect_code(1);
    assert!(run.stderr().contains("no time stamp"), "nobody listens any more: {}", run.stderr());
    let said = office.verify(None).expect_code(0).stdout();
    assert!(!said.contains("time stamp"), "nothing was kept: {said}");
}
