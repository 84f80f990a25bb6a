//! `/roles` and `/profiles`: what accounts let people do. Everything is checked and written down by `store`, as for the page.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use policy::Permission;
use policy::access::{Permissions, Profile, Role, Scope, is_built_in};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AccountChange, Accounts, ROLE_FILTERS_MAX};

use super::accounts::{administers, changes};
use super::operation::Operation;
use super::problem::{Kind, Problem};
use super::read;
use super::schema::{count, list, list_up_to, object, of, one_of, open, short, text, yes};
use crate::server::App;
use crate::server::caller::Asker;

/// Characters of a name or a description; what else they must be is `store`'s.
const TEXT_MAX: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    let name = || short("The name", 1, TEXT_MAX);
    let scope = || one_of("Whose segments are seen", Scope::ALL.map(Scope::key));
    let permission = || one_of("A permission", Permission::ALL.map(Permission::key));
    vec![
        administers(Operation::get(["listRoles", "/roles", "The roles that an account can have"], roles))
            .gives(object([("roles", list(of("Role")))])),
        administers(Operation::get(["getRole", "/roles/{name}", "A role"], role))
            .path("name", name())
            .hides(Kind::NoSuchName)
            .gives(of("Role")),
        changes(Operation::put(
            ["putRole", "/roles/{name}", "Makes a role, or other contents of one that is there"],
            put_role,
        ))
        .path("name", name())
        .takes(object([
            ("description?", short("What it is for", 0, TEXT_MAX)),
            ("profile", short("Its profile, by name", 1, TEXT_MAX)),
            ("scope", scope()),
            ("filters?", list_up_to(short("An access filter, by name", 1, TEXT_MAX), 0, ROLE_FILTERS_MAX)),
        ]))
        .gives(of("Role")),
        changes(Operation::delete(
            ["removeRole", "/roles/{name}", "Removes a role that nobody has"],
            remove_role,
        ))
        .path("name", name())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
        administers(Operation::get(
            ["listProfiles", "/profiles", "Sets of permissions that a role can have"],
            profiles,
        ))
        .gives(object([("profiles", list(of("Profile")))])),
        administers(Operation::get(["getProfile", "/profiles/{name}", "A set of permissions"], profile))
            .path("name", name())
            .hides(Kind::NoSuchName)
            .gives(of("Profile")),
        changes(Operation::put(
            [
                "putProfile",
                "/profiles/{name}",
                "Makes a profile, or other contents of one that is not built in",
            ],
            put_profile,
        ))
        .path("name", name())
        .takes(object([
            ("description?", short("What it is for", 0, TEXT_MAX)),
            ("permissions", list_up_to(permission(), 0, Permission::ALL.len())),
        ]))
        .gives(of("Profile")),
        changes(Operation::delete(
            ["removeProfile", "/profiles/{name}", "Removes a profile that no role has"],
            remove_profile,
        ))
        .path("name", name())
        .hides(Kind::NoSuchName)
        .gives_nothing(),
    ]
}

pub(super) fn shapes() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Role",
            open([
                ("name", text("Its name")),
                ("description", text("What it is for")),
                ("profile", text("Its profile, by name")),
                ("scope", one_of("Whose segments are seen", Scope::ALL.map(Scope::key))),
                ("filters", list(text("An access filter, by name"))),
                ("users", count("Accounts that have it")),
            ]),
        ),
        (
            "Profile",
            open([
                ("name", text("Its name")),
                ("description", text("What it is for")),
                ("permissions", list(one_of("A permission", Permission::ALL.map(Permission::key)))),
                ("built_in", yes("It is always there, and stays as it is")),
            ]),
        ),
    ]
}

fn told_role(accounts: &Accounts, role: &Role) -> Value {
    let users = accounts.accounts().filter(|account| account.role.as_deref() == Some(&role.name)).count();
    json!({
        "name": role.name, "description": role.description, "profile": role.profile, "scope": role.scope,
        "filters": role.filters, "users": users,
    })
}

fn told_profile(profile: &Profile) -> Value {
    json!({
        "name": profile.name, "description": profile.description, "permissions": profile.permissions,
        "built_in": is_built_in(&profile.name),
    })
}

fn found_role(app: &App, name: &str) -> Result<Value, Problem> {
    let accounts = app.archive().accounts();
    accounts.role(name).map(|role| told_role(&accounts, role)).ok_or(Problem::Nothing(Kind::NoSuchName))
}

fn found_profile(app: &App, name: &str) -> Result<Value, Problem> {
    let profile = app.archive().accounts().profile(name).ok_or(Problem::Nothing(Kind::NoSuchName))?;
    Ok(told_profile(&profile))
}

/// `GET /roles`.
async fn roles(State(app): State<App>) -> Json<Value> {
    let accounts = app.archive().accounts();
    let roles: Vec<Value> = accounts.roles().iter().map(|role| told_role(&accounts, role)).collect();
    Json(json!({ "roles": roles }))
}

/// `GET /roles/{name}`.
async fn role(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    found_role(&app, &name).map(Json)
}

#[derive(Deserialize)]
struct GivenRole {
    #[serde(default)]
    description: String,
    profile: String,
    scope: Scope,
    /// Without a word of them they stay.
    filters: Option<Vec<String>>,
}

/// `PUT /roles/{name}`.
async fn put_role(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let GivenRole { description, profile, scope, filters } = read(&body)?;
    let role = |filters| Role { name: name.clone(), description, profile, scope, filters };
    let change = match filters {
        Some(filters) => AccountChange::PutRole(role(filters)),
        None => AccountChange::PutRoleWithItsFilters(role(Vec::new())),
    };
    app.change(&asker, change).await?.map_err(Problem::Refused)?;
    found_role(&app, &name).map(Json)
}

/// `DELETE /roles/{name}`.
async fn remove_role(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    found_role(&app, &name)?;
    app.change(&asker, AccountChange::RemoveRole { name }).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /profiles`.
async fn profiles(State(app): State<App>) -> Json<Value> {
    let profiles: Vec<Value> = app.archive().accounts().profiles().iter().map(told_profile).collect();
    Json(json!({ "profiles": profiles }))
}

/// `GET /profiles/{name}`.
async fn profile(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    found_profile(&app, &name).map(Json)
}

#[derive(Deserialize)]
struct GivenProfile {
    #[serde(default)]
    description: String,
    permissions: Permissions,
}

/// `PUT /profiles/{name}`.
async fn put_profile(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let GivenProfile { description, permissions } = read(&body)?;
    let profile = Profile { name: name.clone(), description, permissions };
    app.change(&asker, AccountChange::PutProfile(profile)).await?.map_err(Problem::Refused)?;
    found_profile(&app, &name).map(Json)
}

/// `DELETE /profiles/{name}`.
async fn remove_profile(
    State(app): State<App>,
    asker: Asker,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    found_profile(&app, &name)?;
    app.change(&asker, AccountChange::RemoveProfile { name }).await?.map_err(Problem::Refused)?;
    Ok(StatusCode::NO_CONTENT)
}
