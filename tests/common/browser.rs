//! A browser's side of the pages, as far as tests of the whole program need it: a cookie, forms, redirects that are told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::appliance::PATIENCE;

/// One who is let in, or not yet.
pub struct Browser {
    at: SocketAddr,
    cookie: String,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    /// Where it leads.
    pub location: String,
    pub body: String,
}

impl Browser {
    pub fn new(at: SocketAddr) -> Browser {
        Browser { at, cookie: String::new() }
    }

    /// One who has opened the link that lets one in.
    pub fn entering(link: &str) -> Browser {
        let (address, path) =
            link.strip_prefix("http://").and_then(|link| link.split_once('/')).expect("a link");
        let mut browser = Browser::new(address.parse().expect("an address"));
        assert_eq!(browser.get(&format!("/{path}")).location, "/");
        browser
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, "")
    }

    /// Sends a form.
    pub fn post(&mut self, path: &str, form: &str) -> Reply {
        self.ask("POST", path, form)
    }

    /// Asks until the page is as wanted.
    pub fn wait_for(&mut self, path: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let body = self.get(path).body;
            if wanted(&body) {
                return body;
            }
            assert!(begun.elapsed() < 2 * PATIENCE, "{path}: {body}");
            std::thread::park_timeout(std::time::Duration::from_millis(100));
        }
    }

    fn ask(&mut self, method: &str, path: &str, form: &str) -> Reply {
        let at = self.at;
        let mut stream = TcpStream::connect(at).expect("it listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nCookie: {}\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
            self.cookie,
            form.len()
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        let (head, body) = reply.split_once("\r\n\r\n").expect("a reply");
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        if let Some(cookie) = field("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        }
        Reply {
            status: head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"),
            location: field("location").unwrap_or_default(),
            body: body.to_owned(),
        }
    }
}
