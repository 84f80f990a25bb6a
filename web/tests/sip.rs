//! A recording with SIP: in a ZIP, as a capture file and on its page.

mod common;

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use common::*;
use decode::codec::g711::Law;
use decode::{AudioFrame, Carrier, Endpoint, Flow, Party, Signal};
use policy::gate::{Cleared, ClearedSignal};
use policy::redact::Digits;
use store::{Archive, RecordingId, State};
use tower::ServiceExt;
use web::manifest::Manifest;
use web::server::{App, Beside, Reached, router};
use web::{Exporter, FileFormat, Selection, Shape, Trace};

const ADDRESS: &str = "127.0.0.1:8480";

fn message(start: &str, body: &str) -> Vec<u8> {
    format!("{start}\r\nCall-ID: 7\r\nCSeq: 1 INVITE\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A recording whose INVITE came two seconds before its audio, and its BYE behind it; what the callee says is hostile.
fn recorded(archive: &Archive) -> RecordingId {
    let facts = facts(1, 1_000, "2041");
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let end = |n| Endpoint::v4([192, 0, 2, n], 5060);
    let flow = Flow { src: end(1), dst: end(2) };
    let signal = |at_ms, flow, carrier, is_repeated, bytes| {
        let at = facts.started.plus_millis(at_ms);
        let signal = Signal { at, flow, carrier, is_repeated, left_out: 2, bytes };
        ClearedSignal::for_test(&signal, Digits::Withheld)
    };
    let invite = message("INVITE sip:b@c SIP/2.0", "");
    let ringing = message(&format!("SIP/2.0 180 {}", HOSTILE.replace("\r\n", "")), "hello");
    let bye = message("BYE sip:b@c SIP/2.0", "");
    writer.signal(&signal(-2_000, flow, Carrier::Udp, false, &invite)).expect("room");
    writer.signal(&signal(-1_000, flow.reversed(), Carrier::Tcp, false, &ringing)).expect("room");
    let voice = Voice::g711(Party::Near, Law::Mu, &tone(8_000, 440.0));
    for (i, payload) in voice.payloads.iter().enumerate() {
        let at = facts.started.plus_millis(20 * i as i64);
        let (sequence, timestamp) = (i as u16, (i * PACKET) as u32);
        let frame =
            AudioFrame { at, ssrc: 1, sequence, timestamp, marker: i == 0, format: &voice.format, payload };
        writer.append(&Cleared::for_test(Party::Near, &frame)).expect("room");
    }
    writer.signal(&signal(1_000, flow, Carrier::Tls, true, &bye)).expect("room");
    writer.finish(store::RecordingFacts { state: State::Complete, ..facts }).expect("a finished recording")
}

#[test]
fn the_messages_read_back_with_their_own_times_and_the_audio_is_as_long_as_it_was() {
    let place = place();
    let id = recorded(&place.archive);
    let trace = Trace::read(&place.archive, id).expect("readable");
    let steps = trace.steps();
    let at: Vec<i64> = steps.iter().map(|step| step.at.as_millis() - id.started().as_millis()).collect();
    assert_eq!(at, [-2_000, -1_000, 1_000]);
    let over: Vec<&str> = steps.iter().map(|step| step.transport).collect();
    assert_eq!((over, steps[2].repeated), (vec!["UDP", "TCP", "TLS"], true));
    assert_eq!(steps[1].redacted, ["body"]);
    assert!(trace.warnings()[0].starts_with("2 SIP messages"), "{:?}", trace.warnings());
    let mut wav = Vec::new();
    let exported =
        web::export(&place.archive, id, FileFormat::Wav, Shape::Stereo, &mut wav).expect("an export");
    assert_eq!(exported.samples, 8_000);
}

#[test]
fn a_zip_holds_the_capture_file_and_names_it() {
    let place = place();
    let id = recorded(&place.archive);
    let without =
        record(&place.archive, facts(2, 100, "x"), &[Voice::g711(Party::Near, Law::Mu, &tone(800, 440.0))]);
    let selection =
        Selection { format: FileFormat::Wav, shape: Shape::Stereo, sealed: false, without_sip: false };
    let mut zip = Vec::new();
    let exporter = Exporter::new("ann", started());
    let bundled = web::bundle(&place.archive, &[id, without], selection, &exporter, &mut zip, |_, _| {})
        .expect("a ZIP");
    assert!(bundled.exported[0].warnings[0].starts_with("2 SIP messages"));
    let files = unzip(&zip);
    let name = format!("{id}.sip.pcapng");
    let mut alone = Vec::new();
    Trace::read(&place.archive, id).expect("readable").write_pcapng(&mut alone).expect("room");
    assert_eq!(content(&files, &name), alone);
    let manifest: Manifest = serde_json::from_slice(content(&files, "manifest.json")).expect("a manifest");
    assert!(manifest.recordings[0].files.contains(&name) && manifest.members.iter().any(|m| m.name == name));
    assert_eq!(files.iter().filter(|(name, _)| name.ends_with("pcapng")).count(), 1);
    let page = String::from_utf8_lossy(content(&files, "index.html")).into_owned();
    assert!(page.contains(&format!("<a href=\"{name}\">")));
}

async fn get(site: &axum::Router, cookie: &str, path: &str) -> (StatusCode, axum::http::HeaderMap, Vec<u8>) {
    let request = Request::builder().uri(path).header(header::HOST, ADDRESS).header(header::COOKIE, cookie);
    let reply = site.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("a reply");
    let (parts, body) = reply.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.expect("a body");
    (parts.status, parts.headers, body.to_vec())
}

#[tokio::test]
async fn the_page_lists_the_messages_and_gives_the_capture_file() {
    let Place { dir: _dir, archive } = place();
    let id = recorded(&archive);
    let without =
        record(&archive, facts(2, 100, "x"), &[Voice::g711(Party::Near, Law::Mu, &tone(800, 440.0))]);
    let mut capture = Vec::new();
    Trace::read(&archive, id).expect("readable").write_pcapng(&mut capture).expect("room");
    let links = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&links);
    let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
    let reached = Reached::plain(ADDRESS.parse().expect("an address"));
    let site = router(App::new(archive, reached, Beside::new(started), announce));
    let link = links.lock().expect("no panic")[0].clone();
    let path = link.strip_prefix(&format!("http://{ADDRESS}")).expect("ours").to_owned();
    let (_, fields, _) = get(&site, "", &path).await;
    let cookie =
        fields[header::SET_COOKIE].to_str().expect("ASCII").split(';').next().expect("one").to_owned();

    let (status, _, page) = get(&site, &cookie, &format!("/recordings/{id}")).await;
    let page = String::from_utf8(page).expect("UTF-8");
    assert_eq!(status, StatusCode::OK);
    for text in [
        "<h2>Signalling</h2>",
        "192.0.2.1:5060",
        "INVITE",
        "BYE",
        "sent again",
        "replaced: body",
        "/sip.pcapng\"",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let page = page.replace("<script src=\"/assets/earwitness.js\" defer></script>", "");
    assert!(!page.contains("<script") && page.contains("&lt;script"));
    let (status, fields, body) = get(&site, &cookie, &format!("/recordings/{id}/sip.pcapng")).await;
    assert_eq!((status, body == capture), (StatusCode::OK, true));
    let disposition = fields[header::CONTENT_DISPOSITION].to_str().expect("ASCII");
    assert_eq!(disposition, format!("attachment; filename=\"{id}.sip.pcapng\""));
    let (status, _, page) = get(&site, &cookie, &format!("/recordings/{without}")).await;
    assert_eq!((status, String::from_utf8_lossy(&page).contains("Signalling</h2>")), (StatusCode::OK, false));
    let (status, ..) = get(&site, &cookie, &format!("/recordings/{without}/sip.pcapng")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, ..) = get(&site, &cookie, "/recordings/x/sip.pcapng").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
