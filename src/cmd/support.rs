//! `support-bundle`: what somebody who helps needs to know.

use store::locations::Duty;

use super::export::into_place;
use super::{copies, open_archive, warn};
use crate::cli;
use crate::config;
use crate::failure::{Done, Failure};
use crate::support;

pub(crate) fn run(args: &cli::SupportBundle) -> Result<Done, Failure> {
    let settings = config::resolve(&args.dir)?;
    let archive = open_archive(&settings.archive)?;
    copies::use_locations(&archive, &settings, Duty::Read)?;
    let bytes = support::bundle(&archive, &args.dir)?;
    into_place(&args.output, &settings.archive, |out| Ok(out.write_all(&bytes)?))?;
    archive.close()?;
    warn("no call, no number, no name and no key is meant to be in it: look through it before you send it");
    Ok(Done::All)
}
