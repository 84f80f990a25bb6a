//! What the API can do: one table, of which both the router and the document are made. What stands before an operation (the token and
//! its right, the account and its permission, the words of the query, the shape of the body) is asked here, by what the table says:
//! so what the document promises is what happens.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use policy::{Caller, Permission};
use serde_json::Value;
use store::RecordingId;

use super::problem::{Kind, Problem};
use super::schema::Judge;
use super::{document, idempotency};
use crate::server::App;
use crate::server::caller::{Asker, PROGRAM, may_about_all};
use crate::server::guard::peer;
use crate::server::rules::may_all;
use crate::server::session::Who;
use crate::server::token::{Right, Token, kept};

/// Bytes of a request's body, unless an operation takes more.
pub(super) const BODY_MAX: usize = 512 * 1024;

/// What the account of the token must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To be there.
    Account,
    /// This.
    Permission(Permission),
    /// All of these.
    All(&'static [Permission]),
    /// To see all calls: the scope Organization, and no filter that denies.
    AllCalls,
}

/// Something that stands in the address.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Value,
    /// In the path; else in the query.
    pub(super) is_path: bool,
    /// It must be there.
    pub(super) is_required: bool,
}

/// What is answered when all is well.
#[derive(Clone, Debug)]
pub(super) struct Gives {
    pub(super) status: u16,
    /// Media types, and the shape of what is JSON.
    pub(super) media: Vec<(&'static str, Value)>,
}

/// All about an operation but how it is done.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) id: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) right: Option<Right>,
    pub(super) needs: Option<Needs>,
    pub(super) parameters: Vec<Parameter>,
    /// The shape of the body; and it may be left out.
    pub(super) takes: Option<(Value, bool)>,
    /// Bytes of a body.
    pub(super) body_max: usize,
    pub(super) gives: Vec<Gives>,
    pub(super) problems: BTreeSet<Kind>,
    /// What is answered for what the account may not see or do.
    pub(super) hidden: Kind,
    /// It adds something, and must not do so twice.
    pub(super) adds: bool,
    /// It gives events for as long as somebody listens.
    pub(super) streams: bool,
}

/// An operation of the API.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) spec: Spec,
    how: MethodRouter<App>,
}

impl Operation {
    fn new<H, T>(method: Method, filter: MethodFilter, words: [&'static str; 3], how: H) -> Operation
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let [id, path, summary] = words;
        let spec = Spec {
            id,
            method,
            path,
            summary,
            right: None,
            needs: None,
            parameters: Vec::new(),
            takes: None,
            body_max: BODY_MAX,
            gives: Vec::new(),
            // Whatever the query says and the table has not.
            problems: BTreeSet::from([Kind::WrongRequest]),
            hidden: Kind::NoSuchPlace,
            adds: false,
            streams: false,
        };
        Operation { spec, how: on(filter, how) }
    }

    /// One that changes nothing. `words` are its name, its path, and what it does.
    pub(super) fn get<H: Handler<T, App>, T: 'static>(words: [&'static str; 3], how: H) -> Operation {
        Operation::new(Method::GET, MethodFilter::GET, words, how)
    }

    /// One that asks for something to be done.
    pub(super) fn post<H: Handler<T, App>, T: 'static>(words: [&'static str; 3], how: H) -> Operation {
        Operation::new(Method::POST, MethodFilter::POST, words, how)
    }

    /// One that makes something be so.
    pub(super) fn put<H: Handler<T, App>, T: 'static>(words: [&'static str; 3], how: H) -> Operation {
        Operation::new(Method::PUT, MethodFilter::PUT, words, how)
    }

    /// One that changes what the body names.
    pub(super) fn patch<H: Handler<T, App>, T: 'static>(words: [&'static str; 3], how: H) -> Operation {
        Operation::new(Method::PATCH, MethodFilter::PATCH, words, how)
    }

    /// One that takes something away.
    pub(super) fn delete<H: Handler<T, App>, T: 'static>(words: [&'static str; 3], how: H) -> Operation {
        Operation::new(Method::DELETE, MethodFilter::DELETE, words, how)
    }

    /// Takes a token with this right.
    pub(super) fn right(mut self, right: Right) -> Operation {
        self.spec.right = Some(right);
        self.or(&[Kind::NoToken, Kind::NotAllowed, Kind::NoAccount])
    }

    /// Is done as the token's account.
    pub(super) fn needs(mut self, needs: Needs) -> Operation {
        self.spec.needs = Some(needs);
        let hidden = self.spec.hidden;
        let operation = self.or(&[Kind::NoAccount, Kind::Failed]);
        if needs == Needs::Account { operation } else { operation.or(&[hidden]) }
    }

    /// Is about something that looks as what there is not, for whom it is not.
    pub(super) fn hides(mut self, hidden: Kind) -> Operation {
        self.spec.problems.remove(&self.spec.hidden);
        self.spec.hidden = hidden;
        self.or(&[hidden])
    }

    /// A part of the path.
    pub(super) fn path(mut self, name: &str, shape: Value) -> Operation {
        self.spec.parameters.push(Parameter {
            name: name.to_owned(),
            shape,
            is_path: true,
            is_required: true,
        });
        self
    }

    /// Something that the query may say.
    pub(super) fn query(mut self, name: &str, shape: Value) -> Operation {
        self.spec.parameters.push(Parameter {
            name: name.to_owned(),
            shape,
            is_path: false,
            is_required: false,
        });
        self
    }

    /// Something that the query must say: what a body would say if those who take something away had one.
    pub(super) fn must_query(mut self, name: &str, shape: Value) -> Operation {
        self.spec.parameters.push(Parameter {
            name: name.to_owned(),
            shape,
            is_path: false,
            is_required: true,
        });
        self
    }

    /// Takes bodies of so many bytes.
    pub(super) fn up_to(mut self, body_max: usize) -> Operation {
        self.spec.body_max = body_max;
        self
    }

    /// Takes a body of this shape.
    pub(super) fn takes(mut self, shape: Value) -> Operation {
        self.spec.takes = Some((shape, false));
        self.or(&[Kind::TooLarge])
    }

    /// Takes a body of this shape, or none.
    pub(super) fn may_take(mut self, shape: Value) -> Operation {
        self.spec.takes = Some((shape, true));
        self.or(&[Kind::TooLarge])
    }

    /// Answers with JSON of this shape.
    pub(super) fn gives(self, shape: Value) -> Operation {
        self.gives_as(200, "application/json", shape)
    }

    /// Answers with something of this media type; more of them may be named.
    pub(super) fn gives_as(mut self, status: u16, media_type: &'static str, shape: Value) -> Operation {
        match self.spec.gives.iter_mut().find(|gives| gives.status == status) {
            Some(gives) => gives.media.push((media_type, shape)),
            None => self.spec.gives.push(Gives { status, media: vec![(media_type, shape)] }),
        }
        self
    }

    /// Answers with nothing when it is done.
    pub(super) fn gives_nothing(mut self) -> Operation {
        self.spec.gives.push(Gives { status: 204, media: Vec::new() });
        self
    }

    /// What else may come of it.
    pub(super) fn or(mut self, problems: &[Kind]) -> Operation {
        self.spec.problems.extend(problems);
        self
    }

    /// Adds something: the same key of idempotency adds it once.
    pub(super) fn adds(mut self) -> Operation {
        self.spec.adds = true;
        self.or(&[Kind::KeyReused, Kind::Refused, Kind::Failed])
    }

    /// Gives events for as long as somebody listens.
    pub(super) fn streams(mut self) -> Operation {
        self.spec.streams = true;
        self.gives_as(200, "text/event-stream", serde_json::json!({ "type": "string" }))
    }

    /// Puts it at its address, behind what it takes.
    pub(super) fn serve(self, router: Router<App>, app: &App) -> Router<App> {
        let Operation { spec, how } = self;
        let path = spec.path;
        router.route(path, how.route_layer(from_fn_with_state((app.clone(), Arc::new(spec)), gate)))
    }
}

/// Lets a request through to its operation, or says what is missing.
async fn gate(
    State((app, spec)): State<(App, Arc<Spec>)>,
    place: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    place.map_err(|_| Problem::Wrong("the address: it is not UTF-8".to_owned()))?;
    let mut program = String::new();
    if let Some(right) = spec.right {
        let token = app.token(request.headers(), right)?;
        if spec.needs.is_none() {
            app.let_about_all(&token, right)?;
        }
        program = token.key();
        if let Some(needs) = spec.needs {
            let asker = app.as_account(&token, peer(&request))?;
            let may = match needs {
                Needs::Account => true,
                Needs::Permission(permission) => asker.caller.may(permission),
                Needs::All(all) => may_all(&asker, all),
                Needs::AllCalls => asker.sees_all_calls(),
            };
            if !may {
                return Err(Problem::Nothing(spec.hidden));
            }
            request.extensions_mut().insert(asker);
        }
        request.extensions_mut().insert(Program(token));
    }
    spec.judge_query(request.uri().query().unwrap_or_default())?;
    request.extensions_mut().insert(Arc::clone(&spec));
    let Some((shape, may_be_missing)) = &spec.takes else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, spec.body_max).await.map_err(|_| Problem::TooLarge(spec.body_max))?;
    if !(*may_be_missing && body.trim_ascii().is_empty()) {
        judge_body(shape, &body)?;
    }
    if !spec.adds {
        return Ok(next.run(Request::from_parts(parts, Body::from(body))).await);
    }
    idempotency::once(&app, &program, parts, body, next).await
}

fn judge_body(shape: &Value, body: &Bytes) -> Result<(), Problem> {
    let wrong = |error: serde_json::Error| Problem::Wrong(format!("the body: {error}"));
    let value: Value = serde_json::from_slice(body).map_err(wrong)?;
    Judge { named: document::shapes() }.judge("the body", shape, &value).map_err(Problem::Wrong)
}

impl Spec {
    /// What a query says must be what the table says, each once.
    fn judge_query(&self, query: &str) -> Result<(), Problem> {
        let mut seen = BTreeSet::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = self.parameters.iter().find(|parameter| !parameter.is_path && parameter.name == name);
            let known = known.ok_or_else(|| {
                let name: String = name.chars().take(64).collect();
                Problem::Wrong(format!("the query: there is no {name:?}"))
            })?;
            if !seen.insert(&known.name) {
                return Err(Problem::Wrong(format!("{name}: once")));
            }
            let is_number = known.shape.get("type").is_some_and(|kind| kind == "integer");
            let number = || value.parse::<i64>().ok().map(Value::from);
            let value = is_number.then(number).flatten().unwrap_or_else(|| Value::from(&*value));
            Judge { named: document::shapes() }.judge(&name, &known.shape, &value).map_err(Problem::Wrong)?;
        }
        let mut needed =
            self.parameters.iter().filter(|parameter| !parameter.is_path && parameter.is_required);
        match needed.find(|parameter| !seen.contains(&parameter.name)) {
            Some(missing) => Err(Problem::Wrong(format!("the query: {} is missing", missing.name))),
            None => Ok(()),
        }
    }
}

impl App {
    /// The token of a request, if it has this right.
    fn token(&self, headers: &HeaderMap, right: Right) -> Result<Token, Problem> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Err(Problem::NoToken) };
        let secret = field.to_str().ok().and_then(|field| {
            let (scheme, secret) = field.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
        });
        let known = |secret: &str| {
            let kept = || kept(&self.archive().accounts(), secret, self.now());
            self.0.tokens.find(secret).or_else(kept)
        };
        let token = secret.and_then(known).ok_or(Problem::NoToken)?;
        if !token.may(right) {
            return Err(Problem::NotAllowed(right));
        }
        if token.is_kept() {
            self.note_used(&token);
        }
        Ok(token)
    }

    /// May a program do what is done as no account, and so is about all calls? One whose token the archive keeps never can more than its
    /// account at this moment.
    fn let_about_all(&self, token: &Token, right: Right) -> Result<(), Problem> {
        if !token.is_kept() {
            return Ok(());
        }
        if may_about_all(&self.account_of(token)?, right) { Ok(()) } else { Err(Problem::NotAllowed(right)) }
    }

    /// Keeps that a token was used, beside: nobody waits for it.
    fn note_used(&self, token: &Token) {
        let (app, name, at) = (self.clone(), token.name().to_owned(), self.now());
        let is_known = app.archive().accounts().token(&name).is_none_or(|token| token.was_used_on_day_of(at));
        if !is_known {
            tokio::task::spawn_blocking(move || app.archive().note_token_used(&name, at));
        }
    }

    /// As whom a program asks that asked before, if it still may.
    pub(super) fn still_program(&self, token: &Token, right: Right, peer: IpAddr) -> Option<Asker> {
        let token = self.0.tokens.now(token, &self.archive().accounts(), self.now())?;
        self.as_account(&token, peer).ok().filter(|_| token.may(right))
    }

    /// As whom a program asks.
    fn as_account(&self, token: &Token, peer: IpAddr) -> Result<Asker, Problem> {
        let caller = self.account_of(token)?;
        let cookie = Arc::from(format!("{PROGRAM}{}", token.name()));
        let who = Who::Account(caller.name().to_owned());
        Ok(Asker { caller, who, cookie, peer, first: None })
    }

    /// The account whose rights a program has, with what it may at this moment.
    fn account_of(&self, token: &Token) -> Result<Caller, Problem> {
        let account = token.account().ok_or(Problem::NoAccount)?;
        let caller = self.archive().caller(account, self.now());
        caller.filter(|caller| caller.may(Permission::WebAccess)).ok_or(Problem::NoAccount)
    }
}

/// The program that asks.
#[derive(Clone)]
pub(super) struct Program(pub(super) Token);

impl FromRequestParts<App> for Program {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Program, Problem> {
        parts.extensions.get::<Program>().cloned().ok_or(Problem::NoToken)
    }
}

/// The recording that the path names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Id(pub(super) RecordingId);

impl FromRequestParts<App> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Id, Problem> {
        let hidden = parts.extensions.get::<Arc<Spec>>().map_or(Kind::NoSuchRecording, |spec| spec.hidden);
        let missing = || Problem::Nothing(hidden);
        let place = RawPathParams::from_request_parts(parts, app).await.map_err(|_| missing())?;
        let id = place.iter().find(|(name, _)| *name == "id").and_then(|(_, id)| id.parse().ok());
        id.map(Id).ok_or_else(missing)
    }
}
