//! A mail server for tests: takes what it is told, over TLS that is begun in clear (RFC 5321, 3207).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Its certificate's authority, for `ca_file`.
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail/authority.pem");

#[derive(Default)]
pub struct Heard {
    /// Letters, whole.
    pub letters: Vec<String>,
    /// Connections that were made TLS and said their password.
    pub logins: u64,
    /// It takes no mail now.
    pub refuses: bool,
}

/// One that runs until the test ends; takes a connection at a time.
pub struct MailServer {
    pub address: SocketAddr,
    pub heard: Arc<Mutex<Heard>>,
}

impl MailServer {
    pub fn start() -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let seen = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who hangs up, or will not trust us, is the test's business.
                let _ = serve(stream, &seen);
            }
        });
        MailServer { address, heard }
    }

    pub fn letters(&self) -> Vec<String> {
        self.heard.lock().expect("no panic").letters.clone()
    }
}

fn tls() -> Arc<ServerConfig> {
    let chain = CertificateDer::from_pem_slice(include_bytes!("../mail/server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../mail/server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions");
    Arc::new(config.with_no_client_auth().with_single_cert(vec![chain], key).expect("they fit"))
}

fn serve(mut stream: TcpStream, heard: &Mutex<Heard>) -> std::io::Result<()> {
    if heard.lock().expect("no panic").refuses {
        return stream.write_all(b"554 not today\r\n");
    }
    stream.write_all(b"220 mail.example.net ESMTP\r\n")?;
    let mut plain = BufReader::new(stream.try_clone()?);
    loop {
        let line = line(&mut plain)?;
        match word(&line).as_str() {
            "EHLO" => stream.write_all(b"250-mail.example.net\r\n250 STARTTLS\r\n")?,
            "STARTTLS" => break,
            "" => return Ok(()),
            // Nothing is taken in clear.
            _ => stream.write_all(b"530 Must issue a STARTTLS command first\r\n")?,
        }
    }
    stream.write_all(b"220 go ahead\r\n")?;
    let connection = ServerConnection::new(tls()).map_err(std::io::Error::other)?;
    let mut secure = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let said = line(&mut secure)?;
        let answer = match word(&said).as_str() {
            "EHLO" => "250-mail.example.net\r\n250 AUTH PLAIN\r\n".to_owned(),
            // base64 of NUL, box, NUL, secret
            "AUTH" if said.trim_end() == "AUTH PLAIN AGJveABzZWNyZXQ=" => {
                heard.lock().expect("no panic").logins += 1;
                "235 welcome\r\n".to_owned()
            }
            "AUTH" => "535 no\r\n".to_owned(),
            "DATA" => {
                secure.get_mut().write_all(b"354 go on\r\n")?;
                let mut letter = String::new();
                loop {
                    let more = line(&mut secure)?;
                    if more == ".\r\n" || more.is_empty() {
                        break;
                    }
                    letter += &more;
                }
                heard.lock().expect("no panic").letters.push(letter);
                "250 taken\r\n".to_owned()
            }
            "QUIT" | "" => {
                secure.get_mut().write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => "250 ok\r\n".to_owned(),
        };
        secure.get_mut().write_all(answer.as_bytes())?;
    }
}

fn line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    reader.by_ref().take(10_000).read_line(&mut text)?;
    Ok(text)
}

fn word(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}
