//! Letters of people: recordings that somebody sends go out by the mail server that alarms are told by (`[alarms.mail]`).
//!
//! One try, while the sender waits: whoever sends is told at once what the server said, and decides. An alarm is tried again, because nobody is there
//! to do so.

use std::sync::{Arc, PoisonError, RwLock};

use lettre::address::AddressError;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::{Message, Transport};
use web::mail::{Address, Letter, NotTaken, Post};

use crate::alarms::mail::{Server, words};

/// The mail server as the configuration has it now; none where it names none.
pub(crate) struct PostOffice(RwLock<Option<Arc<Server>>>);

impl PostOffice {
    pub(crate) fn new(server: Option<Server>) -> PostOffice {
        PostOffice(RwLock::new(server.map(Arc::new)))
    }

    /// Another one from now on; a letter that is on its way still goes by the former.
    pub(crate) fn change(&self, server: Option<Server>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = server.map(Arc::new);
    }

    fn server(&self) -> Option<Arc<Server>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Post for PostOffice {
    fn is_open(&self) -> bool {
        self.server().is_some()
    }

    fn send(&self, letter: &Letter) -> Result<(), NotTaken> {
        let none = || NotTaken { why: "no mail server is set up any more".to_owned(), of_server: true };
        let server = self.server().ok_or_else(none)?;
        let message = message(&server.from, letter).map_err(|why| NotTaken { why, of_server: false })?;
        // What a server says about this letter is no word about the next one; that it says nothing is.
        let not_taken = |error: lettre::transport::smtp::Error| NotTaken {
            why: words(&error),
            of_server: !error.is_permanent() && !error.is_transient(),
        };
        server.transport.send(&message).map(drop).map_err(not_taken)
    }
}

/// The letter as it goes over the network. Its builder writes what stands in a header so that no line ends in it.
fn message(from: &Mailbox, letter: &Letter) -> Result<Message, String> {
    let mailbox = |address: &Address| {
        let address = address.as_str().parse();
        address.map(|address| Mailbox::new(None, address)).map_err(|error: AddressError| error.to_string())
    };
    let mut builder = Message::builder().from(from.clone()).to(mailbox(&letter.to)?).subject(&letter.subject);
    if let Some(reply_to) = &letter.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    let text = SinglePart::plain(letter.text.clone());
    let made = match &letter.attachment {
        None => builder.singlepart(text),
        Some(file) => {
            let kind = ContentType::parse(file.media_type).map_err(|error| error.to_string())?;
            let file = Attachment::new(file.name.clone()).body(file.bytes.to_vec(), kind);
            builder.multipart(MultiPart::mixed().singlepart(text).singlepart(file))
        }
    };
    made.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(to: &str, subject: &str) -> Letter {
        Letter {
            to: to.parse().expect("an address"),
            reply_to: Some("ann@example.net".parse().expect("an address")),
            subject: subject.into(),
            text: "Grüße\n.\nBcc: nobody@example.net\n".into(),
            attachment: None,
        }
    }

    fn written(letter: &Letter) -> String {
        let from = "recorder <box@example.net>".parse().expect("a mailbox");
        String::from_utf8(message(&from, letter).expect("a message").formatted()).expect("ASCII")
    }

    /// The lines of its header.
    fn header(written: &str) -> Vec<&str> {
        written.split("\r\n").take_while(|line| !line.is_empty()).collect()
    }

    #[test]
    fn a_subject_stays_one_field_of_the_header_whatever_stands_in_it() {
        for subject in
            ["Recording", "Aufnahme für Jörg", "a\r\nBcc: all@example.net", "a\nX: y", &"x ".repeat(100)]
        {
            let written = written(&letter("bob@example.net", subject));
            assert!(written.is_ascii(), "{written}");
            let fields = header(&written);
            let named = |name: &str| fields.iter().filter(|line| line.starts_with(name)).count();
            assert_eq!((named("Subject: "), named("To: "), named("Reply-To: ")), (1, 1, 1), "{written}");
            assert_eq!((named("Bcc:"), named("X:")), (0, 0), "{written}");
        }
    }

    #[test]
    fn every_address_that_a_form_takes_is_one_that_a_letter_can_go_to() {
        for to in [
            "bob@example.net",
            "b.o+b@mail.example.co.uk",
            "o'neill@example.net",
            "root@localhost",
            "!#$%&'*+-/=?^_`{|}~@example.net",
            "x@1.example",
            "x@xn--bcher-kva.example",
        ] {
            let written = written(&letter(to, "x"));
            assert!(header(&written).contains(&format!("To: {to}").as_str()), "{written}");
        }
    }

    #[test]
    fn a_file_goes_with_the_text_as_it_is() {
        use base64::Engine;
        let bytes: Vec<u8> = (0..=255).collect();
        let attachment = web::mail::Attachment {
            name: "01KB2Y.wav".into(),
            media_type: "audio/wav",
            bytes: bytes.clone().into(),
        };
        let written = written(&Letter { attachment: Some(attachment), ..letter("bob@example.net", "x") });
        assert!(
            written.contains("filename=\"01KB2Y.wav\"") && written.contains("Content-Type: audio/wav"),
            "{written}"
        );
        let part = written.split("Content-Type: audio/wav").nth(1).expect("a part");
        let body: String = part
            .split("\r\n\r\n")
            .nth(1)
            .expect("a body")
            .lines()
            .take_while(|line| !line.starts_with("--"))
            .collect();
        assert_eq!(base64::engine::general_purpose::STANDARD.decode(body), Ok(bytes));
    }

    #[test]
    fn without_a_server_nothing_is_sent_and_with_another_one_it_is() {
        let office = PostOffice::new(None);
        let refused = office.send(&letter("bob@example.net", "x")).expect_err("there is none");
        assert!(!office.is_open() && refused.of_server, "{refused}");
        let section: crate::alarms::mail::MailSection =
            toml::from_str("server = \"127.0.0.1:1\"\nsecurity = \"none\"\nfrom = \"box@example.net\"\nto = [\"ops@example.net\"]\n")
                .expect("TOML");
        office.change(Some(section.server().expect("a server")));
        let refused = office.send(&letter("bob@example.net", "x")).expect_err("nobody listens there");
        assert!(office.is_open() && refused.of_server && !refused.why.is_empty(), "{refused}");
    }
}
