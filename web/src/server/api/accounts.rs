//! `/users`: who has an account. Everything is checked and written down by `store`, as for the page; nothing secret is ever given out but
//! a password that was made up here, once.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use policy::Permission;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{Account, AccountChange, AccountEdit, PASSWORD_MAX, Password, USER_NAME_MAX};

use super::idempotency::told_once;
use super::operation::{Needs, Operation};
use super::paging::{address, cut, limit};
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{
    list, maybe_moment, maybe_text, moment, object, of, one_of, open, short, text, up_to, yes,
};
use crate::server::App;
use crate::server::caller::Asker;
use crate::server::form::Form;
use crate::server::session::Secret;
use crate::server::token::Right;
use crate::server::users::{href, state};

/// Users in one answer, unless fewer are asked for.
const LIMIT: usize = 200;
/// Characters of a name or an address; what else they must be is `store`'s.
const TEXT_MAX: usize = 100;
const PATH: &str = "/users";

/// An operation on accounts: Security, and what is refused is told.
pub(super) fn administers(operation: Operation) -> Operation {
    operation.right(Right::Accounts).needs(Needs::Permission(Permission::Security))
}

/// What a change of them may lead to.
pub(super) fn changes(operation: Operation) -> Operation {
    administers(operation).or(&[Kind::Refused])
}

pub(super) fn operations() -> Vec<Operation> {
    let user = || short("The user name", 1, USER_NAME_MAX);
    let made = || {
        object([
            ("user", of("User")),
            ("password", maybe_text("A password that was made up, told this once; null where one was given")),
        ])
    };
    let password = || short("A password; without one it is made up", 1, PASSWORD_MAX);
    vec![
        administers(Operation::get(["listUsers", PATH, "Who has an account"], all))
            .query("find", text("Only those whose name, person or unit has this in it"))
            .query("limit", up_to("Users in one answer", 1, LIMIT as u64))
            .query("before", text("Where the page begins, as `next` has it"))
            .gives(object([
                ("users", list(of("User"))),
                ("next", maybe_text("The address of what comes behind; null at the end")),
            ])),
        changes(Operation::post(["addUser", PATH, "A new account"], add))
            .takes(edited([
                ("name", user()),
                ("password?", password()),
                ("must_change?", yes("It must be changed at the first sign-in; so it is unless it is said")),
            ]))
            .adds()
            .gives_as(201, "application/json", made()),
        administers(Operation::get(["getUser", "/users/{name}", "An account"], one))
            .path("name", user())
            .hides(Kind::NoSuchName)
            .gives(of("User")),
        changes(Operation::patch(
            ["changeUser", "/users/{name}", "What of an account is to be another"],
            edit,
        ))
        .path("name", user())
        .hides(Kind::NoSuchName)
        .takes(edited([]))
        .gives(of("User")),
        changes(Operation::delete(
            ["removeUser", "/users/{name}", "Removes an account; the audit trail keeps its name"],
            remove,
        ))
        .path("name", user())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
        changes(Operation::post(
            ["askUser", "/users/{name}/{ask}", "Keeps everybody out of an account, or lets them in again"],
            ask,
        ))
        .path("name", user())
        .path("ask", one_of("What is done", ["disable", "enable", "lock", "unlock"]))
        .hides(Kind::NoSuchName)
        .or(&[Kind::NoSuchPlace])
        .gives(of("User")),
        changes(Operation::put(
            ["setPassword", "/users/{name}/password", "Another password; all sessions of the account end"],
            set_password,
        ))
        .path("name", user())
        .hides(Kind::NoSuchName)
        .may_take(object([
            ("password?", password()),
            ("must_change?", yes("It must be changed at the next sign-in; so it is unless it is said")),
        ]))
        .gives(made()),
        changes(Operation::delete(
            ["removeSecondFactor", "/users/{name}/second-factor", "Takes the second factor off"],
            remove_totp,
        ))
        .path("name", user())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
    ]
}

/// What can be said of an account, and more.
fn edited<const N: usize>(more: [(&str, Value); N]) -> Value {
    let mut shape = object(more);
    let members = [
        ("display_name", "How the person is called"),
        ("email", "Where mail goes"),
        ("person", "The id of the person whose account it is; empty takes it away"),
        ("unit", "The business unit, where it is no person's; empty takes it away"),
        ("role", "The role, by name; empty takes it away"),
    ];
    if let Some(properties) = shape.get_mut("properties").and_then(Value::as_object_mut) {
        properties.extend(members.map(|(name, about)| (name.to_owned(), short(about, 0, TEXT_MAX))));
    }
    shape
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![(
        "User",
        open([
            ("name", text("The user name")),
            ("display_name", text("How the person is called")),
            ("email", text("Where mail goes")),
            ("person", maybe_text("The id of the person whose account it is")),
            ("unit", maybe_text("The business unit, where it is no person's")),
            ("role", maybe_text("The role; without one nobody signs in")),
            ("state", text("In words")),
            ("disabled", yes("Nobody signs in with it")),
            ("locked", yes("Nobody signs in with it at this moment")),
            ("must_change", yes("The password must be changed before anything else")),
            ("second_factor", yes("There is one in force")),
            ("added", moment("When it was added")),
            ("password_set", maybe_moment("When its password was set")),
            ("last_sign_in", maybe_moment("When somebody last signed in with it")),
        ]),
    )]
}

fn told(app: &App, account: &Account) -> Value {
    json!({
        "name": account.name, "display_name": account.display_name, "email": account.email, "person": account.person,
        "unit": account.unit, "role": account.role, "state": state(app, account).0, "disabled": account.disabled,
        "locked": account.is_locked(app.now()), "must_change": account.must_change, "second_factor": account.has_totp(),
        "added": account.added, "password_set": account.password_set, "last_sign_in": account.last_sign_in,
    })
}

fn found(app: &App, name: &str) -> Result<Value, Problem> {
    let accounts = app.archive().accounts();
    let account = accounts.account(name).ok_or(Problem::Nothing(Kind::NoSuchName))?;
    Ok(told(app, account))
}

/// `GET /users`, in the order of names.
async fn all(State(app): State<App>, RawQuery(query): RawQuery) -> Json<Value> {
    let form = Form::parse(&query.unwrap_or_default());
    let (wanted, before) = (form.text("find").to_lowercase(), form.text("before").to_lowercase());
    let limit = limit(&form, LIMIT);
    let accounts = app.archive().accounts();
    let is_found = |account: &&Account| {
        account.name.to_lowercase() > before
            && [
                Some(&account.name),
                Some(&account.display_name),
                account.person.as_ref(),
                account.unit.as_ref(),
            ]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(&wanted))
    };
    let mut users: Vec<&Account> = accounts.accounts().filter(is_found).take(limit + 1).collect();
    let is_more = cut(&mut users, limit);
    let next = users.last().filter(|_| is_more).map(|last| address(PATH, &form, &last.name));
    Json(
        json!({ "users": users.iter().map(|account| told(&app, account)).collect::<Vec<_>>(), "next": next }),
    )
}

/// `GET /users/{name}`.
async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    found(&app, &name).map(Json)
}

#[derive(Default, Deserialize)]
struct Edited {
    display_name: Option<String>,
    email: Option<String>,
    person: Option<String>,
    unit: Option<String>,
    role: Option<String>,
}

impl From<Edited> for AccountEdit {
    fn from(edited: Edited) -> AccountEdit {
        let Edited { display_name, email, person, unit, role } = edited;
        AccountEdit { display_name, email, person, unit, role }
    }
}

#[derive(Deserialize)]
struct Added {
    name: String,
    #[serde(flatten)]
    edit: Edited,
    #[serde(flatten)]
    password: NewPassword,
}

#[derive(Default, Deserialize)]
struct NewPassword {
    password: Option<String>,
    must_change: Option<bool>,
}

impl NewPassword {
    /// The password, and the same in clear where it was made up.
    fn settle(&self) -> (Password, Option<String>) {
        match &self.password {
            Some(given) => (Password::new(given), None),
            None => {
                let made = Secret::new().text().to_owned();
                (Password::new(&made), Some(made))
            }
        }
    }

    /// Whoever makes a password for somebody else knows it: it is for the next sign-in alone.
    fn must_change(&self) -> bool {
        self.must_change.unwrap_or(true)
    }
}

/// Changes one that is there, as the page does.
async fn changed(app: &App, asker: &Asker, name: &str, change: AccountChange) -> Result<(), Problem> {
    found(app, name)?;
    app.change_user(asker, name, change).await?.map_err(Problem::Refused)
}

/// `POST /users`.
async fn add(State(app): State<App>, asker: Asker, body: Bytes) -> Result<Response, Problem> {
    let Added { name, edit, password: new } = read(&body)?;
    let (password, made) = new.settle();
    let (password, must_change) = (Some(password), new.must_change());
    let change = AccountChange::Add { name: name.clone(), edit: edit.into(), password, must_change };
    app.change(&asker, change).await?.map_err(Problem::Refused)?;
    let user = found(&app, &name)?;
    let mut response = (StatusCode::CREATED, once(&user, made.as_deref())).into_response();
    if let Ok(place) = HeaderValue::try_from(format!("{}{}", super::PREFIX, href(&name))) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// An answer with a password that was made up.
fn once(user: &Value, password: Option<&str>) -> Response {
    told_once(("user", user), ("password", password))
}

/// `PATCH /users/{name}`.
async fn edit(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let edit = AccountEdit::from(read::<Edited>(&body)?);
    changed(&app, &asker, &name, AccountChange::Edit { name: name.clone(), edit }).await?;
    found(&app, &name).map(Json)
}

/// `DELETE /users/{name}`.
async fn remove(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    changed(&app, &asker, &name, AccountChange::Remove { name: name.clone() }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /users/{name}/{ask}`.
async fn ask(
    State(app): State<App>,
    asker: Asker,
    Path((name, ask)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let own = name.clone();
    let change = match ask.as_str() {
        "disable" => AccountChange::Disable { name: own, disabled: true },
        "enable" => AccountChange::Disable { name: own, disabled: false },
        "lock" => AccountChange::Lock { name: own, locked: true },
        "unlock" => AccountChange::Lock { name: own, locked: false },
        _ => return Err(Problem::Nothing(Kind::NoSuchPlace)),
    };
    changed(&app, &asker, &name, change).await?;
    found(&app, &name).map(Json)
}

/// `PUT /users/{name}/password`.
async fn set_password(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Problem> {
    let new = if body.trim_ascii().is_empty() { NewPassword::default() } else { read::<NewPassword>(&body)? };
    let (password, made) = new.settle();
    let change = AccountChange::SetPassword { name: name.clone(), password, must_change: new.must_change() };
    changed(&app, &asker, &name, change).await?;
    Ok(once(&found(&app, &name)?, made.as_deref()))
}

/// `DELETE /users/{name}/second-factor`.
async fn remove_totp(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    changed(&app, &asker, &name, AccountChange::RemoveTotp { name: name.clone() }).await?;
    Ok(StatusCode::NO_CONTENT)
}
