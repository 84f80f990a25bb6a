//! `serve`: pages over an archive, to listen by in a browser.

use std::sync::Arc;

use store::Archive;
use store::locations::Duty;
use web::server::{Beside, Server};

use super::rule::follow_book;
use super::{copies, know_site, open_archive, print_line, warn};
use crate::cli;
use crate::clock;
use crate::config;
use crate::failure::{Done, Failure};
use crate::pages;
use crate::passphrase;
use crate::rules::Standing;
use crate::support::Workshop;

pub(crate) fn run(args: &cli::Serve) -> Result<Done, Failure> {
    let mut settings = config::resolve(&args.dir)?;
    let archive = open_archive(&settings.archive)?.into_own()?;
    copies::use_locations(&archive, &settings, Duty::Read)?;
    passphrase::unlock(&archive, true)?;
    if !archive.can_read() {
        let why = if archive.is_locked() { "is sealed with a passphrase" } else { "is not here" };
        warn(&format!("the private key {why}: recordings are listed and verified, and cannot be played"));
    }
    follow_book(&mut settings, &archive)?;
    know_site(&archive, &settings.rules);
    let archive = Arc::new(archive);
    let place = pages::place(&settings, args.listen)?;
    let workshop = Workshop::new(&archive, args.dir.clone(), settings.web.told());
    let beside = Beside {
        machinery: Some(Arc::new(workshop)),
        zone: settings.machine.zone.clone(),
        rules: Some(Arc::new(Standing::new(settings.book.clone(), settings.machine.clone()))),
        ..Beside::new(clock::now)
    };
    Server::bind(Arc::clone(&archive), place, beside, announce)?.run()?;
    close(archive)?;
    Ok(Done::All)
}

/// Closes an archive that pages were served of.
pub(super) fn close(archive: Arc<Archive>) -> Result<(), Failure> {
    match Arc::into_inner(archive) {
        Some(archive) => Ok(archive.close()?),
        None => {
            tracing::warn!("a recording was still being read; the archive closes with the process");
            Ok(())
        }
    }
}

/// The link stands alone on stdout, for scripts too.
fn announce(link: &str) {
    warn("open this link in a browser; it works once (Ctrl-C ends):");
    if print_line(link).is_err() {
        warn("the link could not be written: nobody can get in");
    }
}
