//! `user accounts, add, set, password, …` and `role`: who can sign in, and what they may do. For scripts, and for the first account.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use policy::access::{AccessFilter, Profile, Role};
use policy::{Field, Permission};
use serde_json::{Value, json};
use store::{Account, AccountChange, AccountEdit, Accounts, Password, TotpSecret};
use zeroize::Zeroizing;

use super::{open_archive, print_json, print_line, warn};
use crate::cli::accounts::{AccountCommand, AccountFacts, OfAccount, PasswordFrom, RoleCommand};
use crate::cli::people::UserCommand;
use crate::cli::{ArchiveDir, Cli, Command};
use crate::console::{self, Opened, who};
use crate::failure::{Done, Failure};
use crate::tables::{self, cell};
use crate::{clock, config, passphrase};

/// The name under which a command hands its standard input, or what was typed, to the running appliance.
const INPUT: &str = "-";
/// Bytes read of a password; a longer one is nobody's anyway.
const READ_MAX: u64 = 2_048;
/// What apps call the account's issuer.
const ISSUER: &str = "earwitness";

fn open(dir: &ArchiveDir) -> Result<Opened, Failure> {
    open_archive(&config::resolve(dir)?.archive)
}

/// `user`, as far as it is about accounts.
pub(crate) fn account(command: &AccountCommand) -> Result<Done, Failure> {
    match command {
        AccountCommand::Accounts { name: None, dir, json } => list(dir, json.json),
        AccountCommand::Accounts { name: Some(name), dir, json } => show(dir, name, json.json),
        AccountCommand::Add { account, facts, password } => {
            let archive = open(&account.dir)?;
            let change = AccountChange::Add {
                name: account.name.clone(),
                edit: edit(facts),
                password: Some(read_password(password)?),
                must_change: password.must_change,
            };
            if facts.role.is_none() {
                warn(
                    "an account without a role cannot sign in: give it one with `user set NAME --role ROLE`",
                );
            }
            done(archive, change, &format!("the account {:?} was added", account.name))
        }
        AccountCommand::Set { account, facts } => {
            let change = AccountChange::Edit { name: account.name.clone(), edit: edit(facts) };
            one(account, change, "was changed")
        }
        AccountCommand::Password { account, password } => {
            let archive = open(&account.dir)?;
            let change = AccountChange::SetPassword {
                name: account.name.clone(),
                password: read_password(password)?,
                must_change: password.must_change,
            };
            done(archive, change, &format!("the account {:?} has another password", account.name))
        }
        AccountCommand::Totp { account, code: Some(code), .. } => {
            let change = AccountChange::ConfirmTotp { name: account.name.clone(), code: code.clone() };
            one(account, change, "has a second factor from now on")
        }
        AccountCommand::Totp { account, off: true, .. } => one(
            account,
            AccountChange::RemoveTotp { name: account.name.clone() },
            "has no second factor any more",
        ),
        AccountCommand::Totp { account, .. } => begin_totp(account),
        AccountCommand::Lock(account) => {
            one(account, AccountChange::Lock { name: account.name.clone(), locked: true }, "is locked")
        }
        AccountCommand::Unlock(account) => {
            one(account, AccountChange::Lock { name: account.name.clone(), locked: false }, "is unlocked")
        }
        AccountCommand::Disable(account) => {
            one(account, AccountChange::Disable { name: account.name.clone(), disabled: true }, "is disabled")
        }
        AccountCommand::Enable(account) => {
            one(account, AccountChange::Disable { name: account.name.clone(), disabled: false }, "is enabled")
        }
        AccountCommand::Remove(account) => {
            one(account, AccountChange::Remove { name: account.name.clone() }, "was removed")
        }
    }
}

fn one(account: &OfAccount, change: AccountChange, what: &str) -> Result<Done, Failure> {
    done(open(&account.dir)?, change, &format!("the account {:?} {what}", account.name))
}

fn done(archive: Opened, change: AccountChange, told: &str) -> Result<Done, Failure> {
    archive.change_accounts(&who(), clock::now(), change)?;
    print_line(&tables::plain(told))?;
    archive.close()?;
    Ok(Done::All)
}

fn edit(facts: &AccountFacts) -> AccountEdit {
    AccountEdit {
        display_name: facts.display_name.clone(),
        email: facts.email.clone(),
        person: facts.person.clone(),
        unit: facts.unit.clone(),
        role: facts.role.clone(),
    }
}

fn begin_totp(account: &OfAccount) -> Result<Done, Failure> {
    let archive = open(&account.dir)?;
    let secret = TotpSecret::new()?;
    let begin = AccountChange::BeginTotp { name: account.name.clone(), secret: secret.clone() };
    archive.change_accounts(&who(), clock::now(), begin)?;
    print_line(&secret.base32())?;
    print_line(&secret.uri(ISSUER, &account.name))?;
    archive.close()?;
    warn(
        "put one of these into an app; it is asked for once `user totp NAME --code CODE` was given what the app shows",
    );
    Ok(Done::All)
}

/// What the words, a file, standard input or the terminal have for a password.
fn read_password(from: &PasswordFrom) -> Result<Password, Failure> {
    if let Some(path) = &from.password_file {
        let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        return read(console::open(path).map_err(failed)?);
    }
    if from.password_stdin || console::is_guest() {
        return match console::handed(Path::new(INPUT)) {
            Some(input) => read(input?),
            None if console::is_guest() => Err(no_terminal()),
            None => read(std::io::stdin()),
        };
    }
    Ok(Password::new(&passphrase::type_new("password")?.ok_or_else(no_terminal)?))
}

fn no_terminal() -> Failure {
    Failure::usage("no terminal to ask for the password at: give --password-stdin or --password-file FILE")
}

fn read(from: impl Read) -> Result<Password, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_MAX as usize));
    from.take(READ_MAX).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::usage("the password is no text in UTF-8"))?;
    Ok(Password::new(text))
}

/// What a command reads for a password beside its words and the files that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Nothing,
    Stdin,
    Terminal,
}

impl Reads {
    /// What this command reads.
    pub(crate) fn of(cli: &Cli) -> Reads {
        let Command::User(args) = &cli.command else { return Reads::Nothing };
        match &args.command {
            UserCommand::Account(
                AccountCommand::Add { password, .. } | AccountCommand::Password { password, .. },
            ) => match password {
                PasswordFrom { password_file: Some(_), .. } => Reads::Nothing,
                PasswordFrom { password_stdin: true, .. } => Reads::Stdin,
                _ => Reads::Terminal,
            },
            _ => Reads::Nothing,
        }
    }

    /// The same as a file that is handed to the running appliance, which can ask at nobody's terminal.
    pub(crate) fn for_appliance(self) -> Result<Option<(&'static str, File)>, Failure> {
        match self {
            Reads::Nothing => Ok(None),
            Reads::Stdin => Ok(Some((INPUT, std::io::stdin().as_fd().try_clone_to_owned()?.into()))),
            Reads::Terminal => {
                let typed = passphrase::type_new("password")?.ok_or_else(no_terminal)?;
                let (reader, mut writer) = std::io::pipe()?;
                // A pipe holds far more than a password before anybody reads.
                writer.write_all(typed.as_bytes())?;
                Ok(Some((INPUT, OwnedFd::from(reader).into())))
            }
        }
    }
}

fn list(dir: &ArchiveDir, json: bool) -> Result<Done, Failure> {
    let archive = open(dir)?;
    let accounts = archive.accounts();
    if json {
        accounts.accounts().try_for_each(|account| print_json(&account_json(&accounts, account)))?;
        return Ok(Done::All);
    }
    if !archive.has_accounts() {
        print_line("no accounts; `earwitness user add NAME --role Administrator` adds the first one")?;
        return Ok(Done::All);
    }
    let rows = accounts.accounts().map(|account| {
        let last = account.last_sign_in.map(|at| at.to_string()).unwrap_or_default();
        let role = account.role.clone().unwrap_or_default();
        [account.name.clone(), account.display_name.clone(), role, state(account).to_owned(), last]
            .map(|text| cell(&text))
    });
    print_line(&tables::of(["ACCOUNT", "NAME", "ROLE", "STATE", "LAST SIGN-IN"], rows))?;
    Ok(Done::All)
}

fn state(account: &Account) -> &'static str {
    match account {
        account if account.disabled => "disabled",
        account if account.locked_by_hand => "locked",
        account if account.is_locked(clock::now()) => "locked for a while",
        account if !account.has_password() => "no password",
        account if account.role.is_none() => "no role",
        account if account.must_change => "must change password",
        _ => "active",
    }
}

fn account_json(accounts: &Accounts, account: &Account) -> Value {
    let permissions: Vec<&str> = accounts.permissions_of(account).iter().map(Permission::key).collect();
    json!({
        "account": account.name, "display_name": account.display_name, "email": account.email, "person": account.person,
        "unit": account.unit, "role": account.role, "state": state(account), "disabled": account.disabled,
        "must_change": accounts.must_change(account, clock::now()), "second_factor": account.has_totp(),
        "added": account.added, "password_set": account.password_set, "failed": account.failed,
        "locked_until": account.locked_until, "locked_by_hand": account.locked_by_hand,
        "last_sign_in": account.last_sign_in, "permissions": permissions,
    })
}

fn show(dir: &ArchiveDir, name: &str, json: bool) -> Result<Done, Failure> {
    let archive = open(dir)?;
    let accounts = archive.accounts();
    let account = accounts.account(name).ok_or_else(|| {
        Failure::new(format!("there is no account {name:?}; `earwitness user accounts` lists them"))
    })?;
    let shown = account_json(&accounts, account);
    if json {
        print_json(&shown)?;
        return Ok(Done::All);
    }
    for (key, value) in shown.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        print_line(&format!("{key:<14} {}", tables::plain(&text)))?;
    }
    Ok(Done::All)
}

/// `role`.
pub(crate) fn role(command: &RoleCommand) -> Result<Done, Failure> {
    match command {
        RoleCommand::List { dir, json } => {
            let accounts = open(dir)?.accounts();
            if json.json {
                accounts.roles().iter().try_for_each(print_json)?;
                return Ok(Done::All);
            }
            let rows = accounts.roles().iter().map(|role| {
                [role.name.clone(), role.profile.clone(), role.scope.to_string(), role.filters.join(", ")]
                    .map(|text| cell(&text))
            });
            print_line(&tables::of(["ROLE", "PROFILE", "SCOPE", "FILTERS"], rows))?;
            Ok(Done::All)
        }
        RoleCommand::Profiles { dir, json } => {
            let profiles = open(dir)?.accounts().profiles();
            if json.json {
                profiles.iter().try_for_each(print_json)?;
                return Ok(Done::All);
            }
            for Profile { name, permissions, .. } in profiles {
                let keys: Vec<&str> = permissions.iter().map(Permission::key).collect();
                print_line(&format!("{:<28} {}", cell(&name), keys.join(", ")))?;
            }
            Ok(Done::All)
        }
        RoleCommand::Set { name, profile, scope, filter, description, dir } => {
            let role = Role {
                name: name.clone(),
                description: description.clone(),
                profile: profile.clone(),
                scope: *scope,
                filters: filter.clone(),
            };
            done(open(dir)?, AccountChange::PutRole(role), &format!("the role {name:?} is set"))
        }
        RoleCommand::Remove { name, dir } => {
            let change = AccountChange::RemoveRole { name: name.clone() };
            done(open(dir)?, change, &format!("the role {name:?} was removed"))
        }
        RoleCommand::Profile { name, permissions, description, dir } => {
            let profile = Profile {
                name: name.clone(),
                description: description.clone(),
                permissions: permissions.iter().copied().collect(),
            };
            done(open(dir)?, AccountChange::PutProfile(profile), &format!("the profile {name:?} is set"))
        }
        RoleCommand::Filter { name: Some(name), mode: Some(mode), conditions, dir, .. } => {
            let read = |written: &String| {
                let (field, pattern) = written.split_once('=').ok_or_else(|| {
                    Failure::usage(format!(
                        "--where {written:?}: write FIELD=PATTERN, as extension=1000-1005"
                    ))
                })?;
                let field = field
                    .trim()
                    .parse::<Field>()
                    .map_err(|error| Failure::usage(format!("--where: {error}")))?;
                Ok((field, pattern.to_owned()))
            };
            let conditions = conditions.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
            let conditions: Vec<_> = conditions.iter().map(|(field, text)| (*field, text.as_str())).collect();
            let filter = AccessFilter::new(name, *mode, &conditions, None).map_err(Failure::usage)?;
            done(open(dir)?, AccountChange::PutFilter(filter), &format!("the access filter {name:?} is set"))
        }
        RoleCommand::Filter { dir, json, .. } => {
            let accounts = open(dir)?.accounts();
            if json.json {
                accounts.filters().iter().try_for_each(print_json)?;
                return Ok(Done::All);
            }
            let rows = accounts.filters().iter().map(|filter| {
                let conditions =
                    filter.conditions().iter().map(|(field, pattern)| format!("{field}={pattern}"));
                let conditions = conditions.collect::<Vec<_>>().join(" and ");
                [filter.name().to_owned(), filter.mode().key().to_owned(), conditions].map(|text| cell(&text))
            });
            print_line(&tables::of(["FILTER", "MODE", "CONDITIONS"], rows))?;
            Ok(Done::All)
        }
    }
}
