//! `/users` and `/roles`: who has an account, and what roles let people do. Everything is checked and written down by `store`.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use policy::access::{Permissions, Profile, Role, Scope, is_built_in};
use policy::{Field, Permission};
use store::{Account, AccountChange, AccountEdit, Password};

use super::App;
use super::accounts::hint;
use super::caller::Asker;
use super::escape::brief;
use super::filters::{self, FilterDraft, FilterLine};
use super::form::Form;
use super::frame::{Frame, Page, page, page_with};
use super::refusal::Refusal;
use super::session::Secret;

struct Line {
    href: String,
    name: String,
    display_name: String,
    person: String,
    unit: String,
    role: String,
    last: String,
    state: &'static str,
    /// `good`, `warn`, or nothing.
    light: &'static str,
}

#[derive(askama::Template)]
#[template(path = "users.html")]
struct Users {
    frame: Frame,
    find: String,
    lines: Vec<Line>,
    is_first: bool,
}

#[derive(askama::Template)]
#[template(path = "user.html")]
struct User {
    frame: Frame,
    is_new: bool,
    is_first: bool,
    action: String,
    name: String,
    display_name: String,
    email: String,
    person: String,
    unit: String,
    role: String,
    roles: Vec<String>,
    is_disabled: bool,
    is_locked: bool,
    has_totp: bool,
    state: String,
    said: &'static str,
    wrong: Option<String>,
    /// A password that was made up, shown once.
    password: String,
    hint: String,
}

fn need(asker: &Asker) -> Result<(), Refusal> {
    asker.need(Permission::Security)
}

pub(super) fn state(app: &App, account: &Account) -> (&'static str, &'static str) {
    let now = app.now();
    if account.disabled {
        ("disabled", "")
    } else if account.is_locked(now) {
        ("locked", "warn")
    } else if !account.has_password() {
        ("has no password", "warn")
    } else if account.must_change {
        ("must set a password", "info")
    } else if account.role.is_none() {
        ("has no role", "warn")
    } else if account.has_totp() {
        ("active, second factor", "good")
    } else {
        ("active", "good")
    }
}

/// `GET /users`.
pub(super) async fn users(
    State(app): State<App>,
    asker: Asker,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    need(&asker)?;
    let find = Form::parse(&query.unwrap_or_default()).text("find").to_owned();
    let wanted = find.to_lowercase();
    let accounts = app.archive().accounts();
    let is_found = |account: &&Account| {
        let texts = [
            Some(account.name.as_str()),
            Some(&account.display_name),
            account.person.as_deref(),
            account.unit.as_deref(),
        ];
        wanted.is_empty() || texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted))
    };
    let lines = accounts.accounts().filter(is_found).map(|account| line(&app, account)).collect();
    page(&Users {
        frame: app.frame(&asker, Page::At("/users"), "Accounts"),
        find,
        lines,
        is_first: !app.has_accounts(),
    })
}

fn line(app: &App, account: &Account) -> Line {
    let (state, light) = state(app, account);
    let text = |text: &Option<String>| brief(text.as_deref().unwrap_or_default()).into_owned();
    Line {
        href: href(&account.name),
        name: account.name.clone(),
        display_name: brief(if account.display_name.is_empty() {
            &account.name
        } else {
            &account.display_name
        })
        .into_owned(),
        person: text(&account.person),
        unit: text(&account.unit),
        role: text(&account.role),
        last: account.last_sign_in.map_or("never".to_owned(), |at| app.zone().moment(at).short),
        state,
        light,
    }
}

/// The page of an account. Names may have any sign that a path has not.
pub(super) fn href(name: &str) -> String {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/users/{}", name.replace('+', "%20"))
}

impl App {
    /// Changes an account, and ends its sessions where it has to begin anew.
    pub(super) async fn change_user(
        &self,
        asker: &Asker,
        name: &str,
        change: AccountChange,
    ) -> Result<Result<(), String>, Refusal> {
        let ends = !matches!(change, AccountChange::Edit { .. } | AccountChange::Lock { locked: false, .. });
        let changed = self.change(asker, change).await?;
        if changed.is_ok() && ends {
            self.door().turn_out(name, None);
        }
        Ok(changed)
    }

    fn user(
        &self,
        asker: &Asker,
        name: &str,
        said: &'static str,
        wrong: Option<String>,
        password: String,
    ) -> Result<Response, Refusal> {
        let accounts = self.archive().accounts();
        let account = accounts.account(name).ok_or(Refusal::NoPage)?;
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        page_with(
            status,
            &User {
                frame: self.frame(asker, Page::At("/users"), format!("User {name}")),
                is_new: false,
                is_first: false,
                action: href(&account.name),
                name: account.name.clone(),
                display_name: account.display_name.clone(),
                email: account.email.clone(),
                person: text(&account.person),
                unit: text(&account.unit),
                role: text(&account.role),
                roles: accounts.roles().iter().map(|role| role.name.clone()).collect(),
                is_disabled: account.disabled,
                is_locked: account.is_locked(self.now()),
                has_totp: account.has_totp(),
                state: state(self, account).0.to_owned(),
                said,
                wrong,
                password,
                hint: hint(accounts.password_policy().strength),
            },
        )
    }

    /// The form of an account that is not there yet; the first one administers.
    fn new_user(&self, asker: &Asker, form: &Form, wrong: Option<String>) -> Result<Response, Refusal> {
        let accounts = self.archive().accounts();
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let text = |name: &str| form.text(name).to_owned();
        let is_first = !self.has_accounts();
        page_with(
            status,
            &User {
                frame: self.frame(
                    asker,
                    Page::At("/users"),
                    if is_first { "First administrator" } else { "New account" },
                ),
                is_new: true,
                is_first,
                action: "/users".to_owned(),
                name: text("name"),
                display_name: text("display_name"),
                email: text("email"),
                person: text("person"),
                unit: text("unit"),
                role: if is_first { ADMINISTRATOR.to_owned() } else { text("role") },
                roles: accounts.roles().iter().map(|role| role.name.clone()).collect(),
                is_disabled: false,
                is_locked: false,
                has_totp: false,
                state: String::new(),
                said: "",
                wrong,
                password: String::new(),
                hint: hint(accounts.password_policy().strength),
            },
        )
    }
}

/// The role that the first account has.
pub(super) const ADMINISTRATOR: &str = "Administrator";

/// `GET /users/new`.
pub(super) async fn new(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need(&asker)?;
    app.new_user(&asker, &Form::parse(""), None)
}

fn edit_of(form: &Form) -> AccountEdit {
    let text = |name: &str| Some(form.text(name).to_owned());
    AccountEdit {
        display_name: text("display_name"),
        email: text("email"),
        person: text("person"),
        unit: text("unit"),
        role: text("role"),
    }
}

/// `POST /users`: a new account. Where no password is written, one is made up and shown once.
pub(super) async fn add(State(app): State<App>, asker: Asker, form: Form) -> Result<Response, Refusal> {
    need(&asker)?;
    let (name, written) = (form.text("name").to_owned(), form.raw("new"));
    let is_first = !app.has_accounts();
    let (password, shown) = match written {
        "" => {
            let made = Secret::new().text().to_owned();
            (Password::new(&made), made)
        }
        written => (Password::new(written), String::new()),
    };
    // Whoever makes an account for somebody else knows its password: it is for the first sign-in alone.
    let change = AccountChange::Add {
        name: name.clone(),
        edit: edit_of(&form),
        password: Some(password),
        must_change: !is_first,
    };
    match app.change(&asker, change).await? {
        Err(why) => app.new_user(&asker, &form, Some(why)),
        Ok(()) if is_first => Ok(Redirect::to("/users").into_response()),
        Ok(()) => app.user(&asker, &name, "The account is there.", None, shown),
    }
}

/// `GET /users/{name}`.
pub(super) async fn user(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    need(&asker)?;
    app.user(&asker, &name, "", None, String::new())
}

/// `POST /users/{name}`: what its buttons say.
pub(super) async fn change(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    form: Form,
) -> Result<Response, Refusal> {
    need(&asker)?;
    let mut shown = String::new();
    let own = name.clone();
    let (change, said) = match form.text("do") {
        "save" => (
            AccountChange::Edit { name: own, edit: edit_of(&form) },
            "Saved. It counts from the next click of theirs.",
        ),
        "disable" => (
            AccountChange::Disable { name: own, disabled: true },
            "Disabled: nobody gets in with it any more.",
        ),
        "enable" => (AccountChange::Disable { name: own, disabled: false }, "Enabled."),
        "lock" => (AccountChange::Lock { name: own, locked: true }, "Locked until somebody unlocks it."),
        "unlock" => (AccountChange::Lock { name: own, locked: false }, "Unlocked."),
        "totp" => (AccountChange::RemoveTotp { name: own }, "The second factor is off."),
        "password" => {
            shown = Secret::new().text().to_owned();
            (
                AccountChange::SetPassword { name: own, password: Password::new(&shown), must_change: true },
                "A new password was made up.",
            )
        }
        "remove" if form.text("confirm") == name => (AccountChange::Remove { name: own }, ""),
        "remove" => {
            let why = "Type the user name to remove the account. Nothing was changed.".to_owned();
            return app.user(&asker, &name, "", Some(why), String::new());
        }
        _ => return Err(Refusal::WrongQuery),
    };
    let is_gone = matches!(change, AccountChange::Remove { .. });
    match app.change_user(&asker, &name, change).await? {
        Err(why) => app.user(&asker, &name, "", Some(why), String::new()),
        Ok(()) => {
            if is_gone {
                return Ok(Redirect::to("/users").into_response());
            }
            app.user(&asker, &name, said, None, shown)
        }
    }
}

struct RoleLine {
    name: String,
    description: String,
    profile: String,
    scope: &'static str,
    scopes: Vec<(&'static str, &'static str, bool)>,
    filters: Vec<(String, bool)>,
    users: usize,
}

struct Mark {
    profile: String,
    is_set: bool,
    is_fixed: bool,
}

struct MatrixLine {
    key: &'static str,
    label: &'static str,
    /// The heading above it, where a new one begins.
    group: &'static str,
    marks: Vec<Mark>,
}

#[derive(askama::Template)]
#[template(path = "roles.html")]
struct Roles {
    frame: Frame,
    roles: Vec<RoleLine>,
    profiles: Vec<(String, String, bool)>,
    scopes: Vec<(&'static str, &'static str)>,
    matrix: Vec<MatrixLine>,
    width: usize,
    filters: Vec<FilterLine>,
    fields: String,
    draft: FilterDraft,
    said: &'static str,
    wrong: Option<String>,
}

impl App {
    fn roles(&self, asker: &Asker, said: &'static str, wrong: Option<String>) -> Result<Response, Refusal> {
        self.roles_with(asker, said, wrong, FilterDraft::default())
    }

    /// The page, with what stands in the form of a filter.
    pub(super) fn roles_with(
        &self,
        asker: &Asker,
        said: &'static str,
        wrong: Option<String>,
        draft: FilterDraft,
    ) -> Result<Response, Refusal> {
        let accounts = self.archive().accounts();
        let profiles = accounts.profiles();
        let users = |role: &Role| {
            accounts.accounts().filter(|account| account.role.as_deref() == Some(&role.name)).count()
        };
        let roles = accounts.roles().iter().map(|role| RoleLine {
            name: role.name.clone(),
            description: role.description.clone(),
            profile: role.profile.clone(),
            scope: role.scope.label(),
            scopes: Scope::ALL
                .iter()
                .map(|scope| (scope.key(), scope.label(), *scope == role.scope))
                .collect(),
            filters: accounts
                .filters()
                .iter()
                .map(|filter| {
                    let name = filter.name();
                    let has = role.filters.iter().any(|its| its.to_lowercase() == name.to_lowercase());
                    (name.to_owned(), has)
                })
                .collect(),
            users: users(role),
        });
        let mut group = None;
        let matrix = Permission::ALL.into_iter().map(|permission| {
            let heading = if group == Some(permission.group()) { "" } else { permission.group().label() };
            group = Some(permission.group());
            let marks = profiles.iter().map(|profile| Mark {
                profile: profile.name.clone(),
                is_set: profile.permissions.has(permission),
                is_fixed: is_built_in(&profile.name),
            });
            MatrixLine {
                key: permission.key(),
                label: permission.label(),
                group: heading,
                marks: marks.collect(),
            }
        });
        let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        page_with(
            status,
            &Roles {
                frame: self.frame(asker, Page::At("/roles"), "Roles and permissions"),
                roles: roles.collect(),
                matrix: matrix.collect(),
                width: profiles.len() + 1,
                profiles: profiles
                    .iter()
                    .map(|profile| {
                        (profile.name.clone(), profile.description.clone(), is_built_in(&profile.name))
                    })
                    .collect(),
                scopes: Scope::ALL.iter().map(|scope| (scope.key(), scope.label())).collect(),
                filters: filters::lines(&accounts),
                fields: Field::ALL.map(Field::name).join(", "),
                draft,
                said,
                wrong,
            },
        )
    }
}

/// `GET /roles`.
pub(super) async fn roles(State(app): State<App>, asker: Asker) -> Result<Response, Refusal> {
    need(&asker)?;
    app.roles(&asker, "", None)
}

/// `POST /roles`: a role is made, changed or removed; a profile is made, or what it permits is changed.
pub(super) async fn change_roles(
    State(app): State<App>,
    asker: Asker,
    form: Form,
) -> Result<Response, Refusal> {
    need(&asker)?;
    let name = form.text("name").to_owned();
    let accounts = app.archive().accounts();
    let change = match form.text("do") {
        "role" => {
            let scope = form.text("scope").parse().map_err(|_| Refusal::WrongQuery)?;
            let description = form.text("description").to_owned();
            let filters = form.all("filter").map(str::to_owned).collect();
            let role = Role { name, description, profile: form.text("profile").to_owned(), scope, filters };
            // A form that does not show filters says nothing of them.
            match form.text("filters") {
                "shown" => AccountChange::PutRole(role),
                _ => AccountChange::PutRoleWithItsFilters(role),
            }
        }
        "remove-role" => AccountChange::RemoveRole { name },
        "profile" => {
            // One that is there keeps what it is for; a new one begins as a copy.
            let old = accounts.profile(&name);
            let copied = accounts.profile(form.text("of"));
            let permissions: Permissions = match (&old, copied) {
                (None, Some(copied)) => copied.permissions,
                _ => form
                    .all("permission")
                    .map(str::parse)
                    .collect::<Result<_, _>>()
                    .map_err(|_| Refusal::WrongQuery)?,
            };
            let description = old.map_or(form.text("description").to_owned(), |old| old.description);
            AccountChange::PutProfile(Profile { name, description, permissions })
        }
        "remove-profile" => AccountChange::RemoveProfile { name },
        _ => return Err(Refusal::WrongQuery),
    };
    match app.change(&asker, change).await? {
        Ok(()) => app.roles(&asker, "Saved. It counts from everybody’s next click.", None),
        Err(why) => app.roles(&asker, "", Some(why)),
    }
}
