//! RTCP compound packets: no panic, nothing told beyond the limits, and a prefix tells a prefix.
#![no_main]

use decode::rtp::rtcp::{self, Item};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let told = |bytes: &[u8]| {
        let mut items = 0;
        rtcp::read(bytes, |item| {
            items += 1;
            if let Item::Name { cname, .. } = item {
                assert!(cname.len() <= 255 && cname.len() <= bytes.len());
            }
            if let Item::Voip(voip) = item {
                assert!((0.0..100.0).contains(&voip.loss_percent));
                assert!(voip.mos_lq.is_none_or(|mos| (1.0..=5.0).contains(&mos)));
            }
        });
        items
    };
    let whole = told(bytes);
    assert!(whole <= rtcp::ITEMS_MAX);
    assert!(told(&bytes[..bytes.len() / 2]) <= whole);
    let _ = rtcp::sources(bytes);
});
