//! `token`: programs that use the API, for whoever holds the machine.

use policy::modes;
use serde_json::json;
use store::{AccountChange, ApiToken, NewToken, TokenSecret};

use super::{open_archive, print_json, print_line, warn};
use crate::cli::ArchiveDir;
use crate::cli::token::{AsksAs, TokenCommand};
use crate::console::{Opened, who};
use crate::failure::{Done, Failure};
use crate::filters::time_option;
use crate::tables::{self, cell};
use crate::{clock, config};

pub(crate) fn run(command: TokenCommand) -> Result<Done, Failure> {
    match command {
        TokenCommand::List { dir, json } => list(&dir, json.json),
        TokenCommand::Add { name, account, rights, asks_as, expires, dir } => {
            let settings = config::resolve(&dir)?;
            let is_configured = |given: &str| given.to_lowercase() == name.to_lowercase();
            if settings.api.tokens.iter().any(|entry| is_configured(&entry.name)) {
                return Err(Failure::usage(format!(
                    "the configuration has a token {name:?} ([[api.token]]): lists and the trail could not tell them apart; take another name"
                )));
            }
            let archive = open_archive(&settings.archive)?;
            let secret = TokenSecret::new()?;
            let expires = time_option(expires.as_deref(), clock::now())?;
            let asks_as = match asks_as {
                AsksAs::Agent => modes::Role::Agent,
                AsksAs::Supervisor => modes::Role::Supervisor,
            };
            let rights = rights.into_iter().collect();
            let new = NewToken { name, account, rights, asks_as, expires, secret: secret.clone() };
            archive.change_accounts(&who(), clock::now(), AccountChange::AddToken(new))?;
            print_line(secret.text())?;
            archive.close()?;
            warn("this is the token, told this once: put it where the program reads it");
            Ok(Done::All)
        }
        TokenCommand::Remove { name, dir } => {
            let archive = open(&dir)?;
            let change = AccountChange::RemoveToken { name: name.clone() };
            archive.change_accounts(&who(), clock::now(), change)?;
            print_line(&tables::plain(&format!("the token {name:?} counts no more")))?;
            archive.close()?;
            Ok(Done::All)
        }
    }
}

fn open(dir: &ArchiveDir) -> Result<Opened, Failure> {
    open_archive(&config::resolve(dir)?.archive)
}

fn list(dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    let accounts = open(dir)?.accounts();
    let keys = |token: &ApiToken| token.rights.iter().map(|right| right.key()).collect::<Vec<_>>();
    if json {
        for token in accounts.tokens() {
            print_json(&json!({
                "token": token.name, "account": token.account, "rights": token.rights, "asks_as": token.asks_as.key(),
                "made": token.made, "by": token.by, "expires": token.expires, "last_used": token.last_used,
                "expired": token.has_expired(clock::now()),
            }))?;
        }
        return Ok(Done::All);
    }
    if accounts.tokens().is_empty() {
        print_line("no tokens; `earwitness token add NAME --account ACCOUNT --right RIGHT` makes one")?;
        return Ok(Done::All);
    }
    let rows = accounts.tokens().iter().map(|token| {
        let moment = |at: Option<decode::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        [
            token.name.clone(),
            token.account.clone(),
            keys(token).join(", "),
            token.by.clone(),
            moment(token.last_used),
            moment(token.expires),
        ]
        .map(|text| cell(&text))
    });
    print_line(&tables::of(["TOKEN", "ACCOUNT", "RIGHTS", "MADE BY", "LAST USED", "EXPIRES"], rows))?;
    Ok(Done::All)
}
