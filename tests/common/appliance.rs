//! A running appliance that takes HEP, as its users and programs meet it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::load::Traffic;

use super::Bench;
use super::agent::{free_port, pace};

/// Of a program that may do everything.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Of one that may look.
pub const OTHER_TOKEN: &str = "fedcba9876543210fedcba9876543210";
/// How long something that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Appliance {
    pub child: Child,
    pub hep: SocketAddr,
    pub web: SocketAddr,
    pub metrics: SocketAddr,
    pub feed: SocketAddr,
}

impl Appliance {
    /// Starts one; `more` is configuration.
    pub fn start(bench: &Bench, more: &str) -> Appliance {
        Appliance::start_on(bench, "", more)
    }

    /// The same with adapters, too.
    pub fn start_on(bench: &Bench, interfaces: &str, more: &str) -> Appliance {
        let (hep, web, metrics, feed) = (free_port(), free_port(), free_port(), free_port());
        let token = |name: &str, secret: &str, rights: &str| {
            let path = bench.path(name);
            private(&path, secret);
            format!("[[api.token]]\nname = {name:?}\nfile = {path:?}\nrights = [{rights}]\n")
        };
        let config = format!(
            "[capture]\nhep = [\"{hep}\"]\ninterfaces = [{interfaces}]\n[web]\nlisten = \"{web}\"\n\
             [metrics]\nlisten = \"{metrics}\"\n[feed]\nlisten = \"{feed}\"\n{}{}{more}",
            token("crm", TOKEN, "\"status\", \"requests\", \"events\""),
            token("board", OTHER_TOKEN, "\"status\"")
        );
        std::fs::write(bench.path("earwitness.toml"), config).expect("writes");
        let child = super::earwitness()
            // As the service's unit has it.
            .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
            .args(["run", "-c"])
            .arg(bench.path("earwitness.toml"))
            .arg("-a")
            .arg(bench.archive())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut running = Appliance { child, hep, web, metrics, feed };
        let begun = Instant::now();
        while TcpStream::connect(hep).is_err() || running.get(metrics, "/healthz").0 != 200 {
            if running.child.try_wait().expect("it can be asked").is_some() || begun.elapsed() > PATIENCE {
                let mut err = String::new();
                let _ = running.child.kill();
                running.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
                panic!("it does not run: {err}");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        running
    }

    /// Sends this traffic as it happens, from a thread.
    pub fn play(&self, traffic: Traffic) -> JoinHandle<()> {
        let hep = self.hep;
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(hep).expect("it listens");
            pace(&traffic, |packet| stream.write_all(packet).expect("sent"));
        })
    }

    /// The same until nobody listens any more.
    pub fn play_until_refused(&self, traffic: Traffic) -> JoinHandle<()> {
        let hep = self.hep;
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(hep).expect("it listens");
            pace(&traffic, |packet| drop(stream.write_all(packet)));
        })
    }

    /// Status and body of an answer; 0 when there is none.
    pub fn ask(&self, at: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(at) else { return (0, String::new()) };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        (status, reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    pub fn get(&self, at: SocketAddr, path: &str) -> (u16, String) {
        self.ask(at, "GET", path, "", "")
    }

    /// Asks the API, with the token that may do everything.
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.ask(self.web, method, &format!("/api/v1{path}"), TOKEN, body);
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// Asks until the answer is as wanted.
    pub fn wait_for(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, value) = self.api("GET", path, "");
            if status == 200 && wanted(&value) {
                return value;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {value}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ends it as a service is ended; gives what it said.
    pub fn stop(mut self) -> String {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
        let mut err = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(0), "{err}");
        err
    }
}

/// A file for its owner alone.
pub fn private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("ours");
}
