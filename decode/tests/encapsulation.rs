//! One set of calls, seen through every encapsulation: what the decoder tells must be the same, to the event.

use decode::tracker::{Event, Tracker};
use decode::{Frame, Timestamp};
use xtask::load::{Scenario, Transport};
use xtask::pcap;
use xtask::wrap::{Layer, Wrapper};

const ETHERNET: u16 = 1;

/// An event as text, without the phones' Ethernet addresses: what wraps a frame has its own.
fn told(event: Event) -> String {
    let mut event = event;
    if let Event::LegEnded(end) = &mut event {
        end.macs = [None; 2];
    }
    format!("{event:?}")
}

/// Everything that the tracker tells about these frames, as text.
fn story(frames: &[pcap::Frame]) -> Vec<String> {
    let mut tracker = Tracker::new();
    let mut story = Vec::new();
    for frame in frames {
        let frame = Frame {
            at: Timestamp::from_nanos(frame.at_ns),
            link: ETHERNET,
            source: 0,
            wire_len: frame.wire_len,
            data: &frame.bytes,
        };
        tracker.handle_frame(&frame);
        while let Some(event) = tracker.poll_event() {
            story.push(told(event));
        }
    }
    tracker.finish();
    while let Some(event) = tracker.poll_event() {
        story.push(told(event));
    }
    story
}

/// The calls: IPv4 or IPv6, long INVITEs that come in fragments, SIP over TCP in pieces.
fn scenario(ipv6: bool, transport: Transport) -> Scenario {
    let big_invite = transport == Transport::Udp;
    Scenario { calls: 2, talk_ms: 400, ramp_ms: 100, ipv6, transport, big_invite, ..Scenario::default() }
}

/// Wraps every frame; the fragments of one frame come at the frame's own time, so that the events' times are the same.
fn wrapped(frames: &[pcap::Frame], layers: &[Layer]) -> Vec<pcap::Frame> {
    let mut wrapper = Wrapper::new(layers);
    let at_once = |frame: &pcap::Frame| {
        let at_ns = frame.at_ns;
        let parts = wrapper.wrap(frame.clone());
        parts.into_iter().map(move |part| pcap::Frame { at_ns, ..part }).collect::<Vec<_>>()
    };
    frames.iter().flat_map(at_once).collect()
}

#[track_caller]
fn tells_the_same(plain: &[String], frames: &[pcap::Frame], layers: &[Layer]) {
    let story = story(&wrapped(frames, layers));
    let first = plain.iter().zip(&story).find(|(a, b)| a != b);
    assert!(first.is_none() && plain.len() == story.len(), "{layers:?}: {first:#?}");
}

#[test]
fn the_calls_are_the_same_through_every_layer() {
    for ipv6 in [false, true] {
        for transport in [Transport::Udp, Transport::TcpPieces] {
            let frames = scenario(ipv6, transport).traffic().frames;
            let plain = story(&frames);
            assert!(plain.iter().filter(|line| line.starts_with("Audio {")).count() > 50);
            assert_eq!(plain.iter().filter(|line| line.starts_with("LegEnded")).count(), 2);
            for (_, layer) in Layer::ALL {
                tells_the_same(&plain, &frames, &[layer]);
            }
        }
    }
}

#[test]
fn the_calls_are_the_same_through_layers_in_layers() {
    let frames = scenario(false, Transport::Udp).traffic().frames;
    let plain = story(&frames);
    for layers in [
        &[Layer::Vlan, Layer::Gre, Layer::Vxlan][..],
        &[Layer::Vlan, Layer::Vlan, Layer::Mpls, Layer::IpInIp, Layer::IpInIp6, Layer::Gre],
        &[Layer::GreEthernet, Layer::Pseudowire, Layer::Snap],
        &[Layer::Erspan2, Layer::Vlan, Layer::Pppoe],
        &[Layer::Geneve, Layer::Vlan, Layer::Vxlan, Layer::Vlan],
        &[Layer::Tzsp, Layer::Gtp, Layer::Fragments],
        // The tunnel's own packets in fragments, and fragments inside a tunnel whose packets are in fragments.
        &[Layer::Fragments, Layer::Vxlan],
        &[Layer::Fragments, Layer::Vxlan, Layer::Fragments],
        &[Layer::Fragments, Layer::Geneve6],
        &[Layer::IpInIp6, Layer::L2tp],
        &[Layer::Vxlan, Layer::Hep3],
        &[Layer::Fragments, Layer::Hep3],
        &[Layer::Vlan, Layer::Hep3Tcp],
        &[Layer::Vxlan, Layer::Fragments, Layer::Hep3Tcp],
        &[Layer::Backbone, Layer::Macsec, Layer::Vlan],
    ] {
        tells_the_same(&plain, &frames, layers);
    }
}

#[test]
fn a_mirror_that_shows_every_fragment_twice_changes_only_the_count_of_copies() {
    let frames = scenario(false, Transport::Udp).traffic().frames;
    let plain = story(&frames);
    let fragments = wrapped(&frames, &[Layer::Vxlan, Layer::Fragments]);
    let twice: Vec<pcap::Frame> = fragments.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
    let told = story(&twice);
    // Packets small enough to stay whole are seen twice.
    let without_copies = |line: &String| !line.starts_with("LegEnded");
    let kept =
        |story: &[String]| story.iter().filter(|line| without_copies(line)).cloned().collect::<Vec<_>>();
    assert_eq!(kept(&told), kept(&plain));
}
