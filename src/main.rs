//! `earwitness`: a call recorder. What it does is in the library crates beside; here are the command line and the threads.

mod alarms;
mod appliance;
mod beside;
mod canary;
mod carried;
mod cli;
mod clock;
mod cmd;
mod cold;
mod config;
mod console;
mod control;
mod facts;
mod failure;
mod feed;
mod filters;
mod harden;
mod http;
mod keylog;
mod late;
mod live;
mod logbook;
mod machine;
mod pages;
mod passphrase;
mod post;
mod presets;
mod quality;
mod recorder;
mod reload;
mod rules;
mod secrets;
mod set_up;
mod smdr;
mod sources;
mod standard_webhook;
mod support;
mod tables;
mod timestamp;
mod webhooks;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use failure::Failure;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let filter = EnvFilter::try_from_env("EARWITNESS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log =
        tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours).with_writer(std::io::stderr);
    let memory = logbook::Memory(&logbook::BOOK).with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(log.with_filter(filter)).with(memory).init();
    harden::no_core_dumps();
    harden::stay_in_memory();
    harden::allow_many_files();
    ExitCode::from(cmd::run_or_hand_over(cli).unwrap_or_else(Failure::report))
}
