//! What a player and a listener ask for, as a browser asks for it: the waveform, the timeline, a running recording's audio, and the
//! socket.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use common::{Voice, facts, read_wav, record, started};
use decode::codec::g711::{self, Law};
use decode::{AudioFrame, Party, Timestamp};
use policy::gate::Cleared;
use serde_json::{Value, json};
use store::{Archive, Mark, RecordingFacts, RecordingId, Writer};
use tower::ServiceExt;
use web::server::{App, Beside, Place, Reached, Server, router};

const ADDRESS: &str = "127.0.0.1:8480";

fn archive(dir: &Path) -> Arc<Archive> {
    Arc::new(Archive::open_or_create(&dir.join("archive")).expect("an archive").0)
}

/// The pages, entered.
struct Site {
    router: Router,
    cookie: String,
}

impl Site {
    async fn enter(archive: &Arc<Archive>) -> Site {
        let links = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&links);
        let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
        let router = router(App::new(
            Arc::clone(archive),
            Reached::plain(ADDRESS.parse().expect("an address")),
            Beside::new(started),
            announce,
        ));
        let mut site = Site { router, cookie: String::new() };
        let link = links.lock().expect("no panic")[0].clone();
        let path = link.strip_prefix(&format!("http://{ADDRESS}")).expect("our address").to_owned();
        let (_, cookie, _) = site.ask(&path, &[]).await;
        site.cookie = cookie.split(';').next().expect("a cookie").to_owned();
        site
    }

    async fn ask(&self, path: &str, fields: &[(header::HeaderName, &str)]) -> (StatusCode, String, Vec<u8>) {
        let mut request =
            Request::get(path).header(header::HOST, ADDRESS).header(header::COOKIE, &self.cookie);
        for (name, value) in fields {
            request = request.header(name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let (parts, body) = self.router.clone().oneshot(request).await.expect("never fails").into_parts();
        let cookie =
            parts.headers.get(header::SET_COOKIE).map(|value| value.to_str().expect("ASCII").to_owned());
        let body = to_bytes(body, usize::MAX).await.expect("a whole body").to_vec();
        (parts.status, cookie.unwrap_or_default(), body)
    }

    async fn get(&self, path: &str) -> Vec<u8> {
        let (status, _, body) = self.ask(path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await).expect("JSON")
    }
}

/// Writes 20 ms of a tone of `level` of one party, numbered from the start of the recording.
fn append(writer: &mut Writer, started: Timestamp, party: Party, number: u32, level: f64) {
    let format = common::format("PCMU", 0);
    let payload: Vec<u8> = (0..160)
        .map(|i| {
            let t = f64::from(number * 160 + i) / 8_000.0;
            g711::encode(Law::Mu, ((std::f64::consts::TAU * 500.0 * t).sin() * level) as i16)
        })
        .collect();
    let frame = AudioFrame {
        at: started.plus_millis(20 * i64::from(number)),
        ssrc: party.index() as u32,
        sequence: number as u16,
        timestamp: number * 160,
        marker: false,
        format: &format,
        payload: &payload,
    };
    writer.append(&Cleared::for_test(party, &frame)).expect("room");
}

#[tokio::test]
async fn the_waveform_is_that_of_the_audio_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let samples: Vec<i16> = (0..16_100_i32).map(|i| (i * 7 % 20_000 - 10_000) as i16).collect();
    let voices =
        [Voice::g711(Party::Near, Law::Mu, &samples), Voice::g711(Party::Far, Law::Mu, &samples[..4_000])];
    let id = record(&archive, facts(1, 2_010, "2041"), &voices);
    archive.sync().expect("a disk");
    let site = Site::enter(&archive).await;
    let peaks = site.get(&format!("/recordings/{id}/peaks")).await;
    assert_eq!(peaks[..12], [b'E', b'W', b'P', b'K', 1, 2, 50, 0, 101, 0, 0, 0]);
    assert_eq!(peaks.len(), 12 + 2 * 2 * 101);
    let (rate, channels) = read_wav(site.get(&format!("/recordings/{id}/audio.wav")).await);
    assert_eq!(rate, 8_000);
    for (channel, lane) in channels.iter().zip(peaks[12..].chunks(202)) {
        for (samples, point) in channel.chunks(160).zip(lane.chunks(2)) {
            let low = samples.iter().copied().fold(0.0, f32::min) * 128.0;
            let high = samples.iter().copied().fold(0.0, f32::max) * 128.0;
            let (a, b) = (f32::from(point[0] as i8), f32::from(point[1] as i8));
            assert!(a <= low && low < a + 1.0 && b >= high && high > b - 1.01, "{a} {low} {high} {b}");
        }
    }
    assert_eq!(site.get(&format!("/recordings/{id}/peaks")).await, peaks, "the kept one");
    let none = RecordingId::from_bytes([9; 16]);
    for path in ["peaks", "timeline.json"] {
        assert_eq!(site.ask(&format!("/recordings/{none}/{path}"), &[]).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_waveform_of_a_pause_is_flat() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let facts = facts(1, 3_000, "2041");
    let (id, started) = (facts.id, facts.started);
    let mut writer = archive.create(facts.clone()).expect("a recording");
    for number in (0..50).chain(100..150) {
        if number == 100 {
            writer.mark(started.plus_millis(2_000), &Mark::PauseEnd { source: "ann".into() }).expect("taken");
        }
        append(&mut writer, started, Party::Near, number, 9_000.0);
        if number == 49 {
            writer
                .mark(started.plus_millis(1_000), &Mark::PauseStart { source: "ann".into() })
                .expect("taken");
        }
    }
    let pauses = vec![store::Span { start_ms: 1_000, end_ms: 2_000 }];
    writer.finish(RecordingFacts { pauses, ..facts }).expect("finished");
    archive.sync().expect("a disk");
    let site = Site::enter(&archive).await;
    let peaks = site.get(&format!("/recordings/{id}/peaks")).await;
    let near: Vec<&[u8]> = peaks[12..12 + 2 * 150].chunks(2).collect();
    assert!(near[51..99].iter().all(|point| *point == [0, 0]), "{near:?}");
    for around in [&near[5..48], &near[105..145]] {
        assert!(around.iter().all(|point| *point != [0, 0]), "{near:?}");
    }
}

#[tokio::test]
async fn a_running_recording_plays_up_to_now_and_a_part_that_was_cut_off_stays_the_same_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let facts = RecordingFacts { ended: None, ..facts(1, 6_000, "2041") };
    let (id, started) = (facts.id, facts.started);
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let site = Site::enter(&archive).await;
    let talk = |writer: &mut Writer, from: u32, to: u32| {
        for number in from..to {
            append(writer, started, Party::Near, number, 9_000.0);
            append(writer, started, Party::Far, number, 3_000.0);
        }
        writer.seal_stale(started.plus_millis(20 * i64::from(to) + 1_000)).expect("sealed");
        archive.sync().expect("a disk");
    };
    let (whole, cut) =
        (format!("/recordings/{id}/audio.wav"), format!("/recordings/{id}/audio.wav?until_ms=1500"));
    talk(&mut writer, 0, 100);
    let timeline = site.json(&format!("/recordings/{id}/timeline.json")).await;
    assert_eq!((&timeline["running"], &timeline["duration_ms"]), (&json!(true), &json!(2_000)));
    let (first, first_cut) = (site.get(&whole).await, site.get(&cut).await);
    assert_eq!(read_wav(first.clone()).1[0].len(), 16_000);
    assert_eq!(read_wav(first_cut.clone()).1[0].len(), 12_000);
    let peaks = site.get(&format!("/recordings/{id}/peaks")).await;
    talk(&mut writer, 100, 200);
    assert_eq!(site.get(&whole).await.len(), first.len() + 2 * 2 * 16_000, "two seconds more");
    assert!(site.get(&format!("/recordings/{id}/peaks")).await.len() > peaks.len(), "nothing was kept");
    for range in ["bytes=0-1", "bytes=20000-30000", "bytes=-100"] {
        let (status, _, body) = site.ask(&cut, &[(header::RANGE, range)]).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        let at = first_cut.windows(body.len()).position(|window| window == body);
        assert!(at.is_some(), "{range} of the file as it was");
    }
    writer
        .finish(RecordingFacts { ended: Some(started.plus_millis(4_000)), duration_ms: 4_000, ..facts })
        .expect("finished");
    assert_eq!(site.get(&cut).await, first_cut, "after the end, too");
    assert_eq!(read_wav(site.get(&format!("{whole}?until_ms=99999")).await).1[0].len(), 32_000);
    for wrong in ["?until_ms=-1", "?until_ms=x", "?until=3"] {
        assert_eq!(site.ask(&format!("{whole}{wrong}"), &[]).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn the_timeline_has_pauses_holds_digits_and_loss_and_nothing_from_inside_a_pause() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let facts = facts(1, 6_000, "2041");
    let (id, started) = (facts.id, facts.started);
    let mut writer = archive.create(facts.clone()).expect("a recording");
    let at = |ms: i64| started.plus_millis(ms);
    let digit = |digit| Mark::Digit { party: Party::Far, digit, duration_ms: 80 };
    for number in (0..100).filter(|number| !(60..63).contains(number)) {
        append(&mut writer, started, Party::Near, number, 9_000.0);
    }
    writer.mark(at(1_500), &digit('5')).expect("kept");
    writer.mark(at(2_000), &Mark::PauseStart { source: "api desk".into() }).expect("kept");
    // The gate lets none of it through; if one came, a page must not show it.
    writer.mark(at(2_500), &digit('7')).expect("kept");
    writer.mark(at(3_000), &Mark::PauseEnd { source: "api desk".into() }).expect("kept");
    writer.mark(at(3_500), &Mark::Hold { by: Party::Far }).expect("kept");
    writer.mark(at(4_250), &Mark::Retrieve { by: Party::Far }).expect("kept");
    for number in 225..300 {
        append(&mut writer, started, Party::Near, number, 9_000.0);
    }
    writer.mark(at(5_000), &Mark::PauseStart { source: "x".into() }).expect("kept");
    writer.finish(facts).expect("finished");
    archive.sync().expect("a disk");
    let site = Site::enter(&archive).await;
    let told = site.json(&format!("/recordings/{id}/timeline.json")).await;
    assert_eq!(told["lanes"][0], json!({ "party": "near", "label": "2041 (2041)", "codec": "PCMU" }));
    assert_eq!(
        (&told["lanes"][1]["codec"], &told["duration_ms"], &told["running"]),
        (&json!(""), &json!(6_000), &json!(false))
    );
    let pauses = json!([
        { "start_ms": 2_000, "end_ms": 3_000, "by": ["api desk"] }, { "start_ms": 5_000, "end_ms": 6_000, "by": ["x"] },
    ]);
    assert_eq!(told["pauses"], pauses);
    assert_eq!(told["holds"], json!([{ "start_ms": 3_500, "end_ms": 4_250 }]));
    assert_eq!(told["dtmf"], json!([{ "at_ms": 1_500, "lane": 1, "digit": "5" }]));
    assert_eq!(told["gaps"][0], json!({ "lane": 0, "start_ms": 1_200, "end_ms": 1_260, "kind": "loss" }));
    assert_eq!(told["loss"][0], json!({ "lane": 0, "second": 1, "expected": 50, "received": 47 }));
}

/// The head of what a server answers to this request.
fn answer(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("an answer") > 0 {
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

#[test]
fn only_who_was_let_in_and_asks_from_our_own_pages_may_listen_and_only_to_what_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let facts = RecordingFacts { ended: None, ..facts(1, 6_000, "2041") };
    let id = facts.id;
    let writer = archive.create(facts).expect("a recording");
    let links = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&links);
    let announce = move |link: &str| heard.lock().expect("no panic").push(link.to_owned());
    let listen = Place::plain("127.0.0.1:0".parse().expect("an address"));
    let server = Server::bind(Arc::clone(&archive), listen, Beside::new(started), announce).expect("a port");
    let (address, running) = (server.address(), server.spawn().expect("a thread"));
    let link = links.lock().expect("no panic")[0].clone();
    let entrance = link.strip_prefix(&format!("http://{address}")).expect("our address").to_owned();
    let entered = answer(address, &entrance, "");
    let cookie = entered.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().expect("a cookie"));
    let origin = format!("Origin: http://{address}\r\n");
    let path = format!("/live/{id}/listen");
    let status =
        |path: &str, fields: &str| answer(address, path, fields).split(' ').nth(1).map(str::to_owned);
    let is = |status: &str| Some(status.to_owned());
    assert_eq!(status(&path, &format!("{cookie}{origin}")), is("101"));
    assert_eq!(status(&path, &origin), is("403"), "without a session");
    assert_eq!(status(&path, &cookie), is("421"), "without an origin");
    for other in
        ["http://evil.example", "null", "http://127.0.0.1:1", &format!("http://{address}.evil.example")]
    {
        assert_eq!(status(&path, &format!("{cookie}Origin: {other}\r\n")), is("421"), "{other}");
    }
    let other = RecordingId::from_bytes([9; 16]);
    assert_eq!(status(&format!("/live/{other}/listen"), &format!("{cookie}{origin}")), is("404"));
    assert_eq!(status("/live/x/listen", &format!("{cookie}{origin}")), is("404"));
    drop(writer);
    assert_eq!(status(&path, &format!("{cookie}{origin}")), is("404"), "it runs no more");
    running.stop().expect("ended");
}

#[tokio::test]
async fn an_address_to_listen_at_is_no_page() {
    let dir = tempfile::tempdir().expect("a folder");
    let archive = archive(dir.path());
    let site = Site::enter(&archive).await;
    let id = RecordingId::from_bytes([9; 16]);
    let origin = format!("http://{ADDRESS}");
    let (status, ..) = site.ask(&format!("/live/{id}/listen"), &[(header::ORIGIN, &origin)]).await;
    assert_eq!(status, StatusCode::UPGRADE_REQUIRED);
}
