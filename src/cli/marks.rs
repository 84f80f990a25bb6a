//! `archive tag, rate, note`: what people say of recordings.

use clap::Args;

use super::{ArchiveDir, Edit, Json};

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["tag", "field"])))]
pub(crate) struct Tag {
    #[command(flatten)]
    pub(crate) edit: Edit,
    /// The tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Take the tag off
    #[arg(long, requires = "tag")]
    pub(crate) remove: bool,
    /// One of the five fields, by its number or name, and what goes into it; an empty value empties it
    #[arg(long, num_args = 2, value_names = ["FIELD", "VALUE"])]
    pub(crate) field: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(crate) struct Rate {
    /// The recording, or the beginning of its id
    pub(crate) id: String,
    /// Stars, 1 to 5; 0 takes the rating back
    #[arg(value_parser = clap::value_parser!(u8).range(0..=5))]
    pub(crate) stars: u8,
    #[command(flatten)]
    pub(crate) dir: ArchiveDir,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct Note {
    #[command(flatten)]
    pub(crate) edit: Edit,
    /// What it says; without it the notes are listed, in the order of their places
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// The place that it is about, from the start of the recording: 61.5, 1:01.5 or 1:02:05
    #[arg(long, value_name = "TIME", requires = "text")]
    pub(crate) at: Option<String>,
    /// The same in milliseconds
    #[arg(long, value_name = "MS", requires = "text", conflicts_with = "at")]
    pub(crate) at_ms: Option<u64>,
}
