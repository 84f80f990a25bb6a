//! The truth of a scenario as JSON lines beside its capture: one call a line, so that a check can run long after.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::g711::Law;
use crate::load::{Direction, Person, Sent, Truth};

/// One call as one line of JSON, without the line break.
#[must_use]
pub fn line(truth: &Truth) -> String {
    let sent = |s: &Sent| {
        json!({
            "tone_hz": s.tone_hz, "from": s.from.to_string(), "ssrcs": s.ssrcs, "packets": s.packets, "lost": s.lost,
            "duplicates": s.duplicates, "reordered": s.reordered, "events": s.events, "noise": s.noise,
            "sent_ns": s.sent_ns, "audio_ms": s.audio_ms,
        })
    };
    let person = |p: &Person| json!({ "number": p.number, "name": p.name });
    json!({
        "call_id": truth.call_id, "extension": person(&truth.extension), "remote": person(&truth.remote),
        "direction": direction_name(truth.direction), "codec": truth.law.name(), "invite_ns": truth.invite_ns,
        "answer_ns": truth.answer_ns, "end_ns": truth.end_ns, "hold_ns": truth.hold_ns, "digits": truth.digits,
        "near": sent(&truth.near), "far": sent(&truth.far),
    })
    .to_string()
}

/// Reads what [`line()`] wrote; `None` when a field is missing or of another kind.
#[must_use]
pub fn parse(line: &str) -> Option<Truth> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let person =
        |value: &Value| Some(Person { number: text(&value["number"])?, name: text(&value["name"])? });
    Some(Truth {
        call_id: text(&value["call_id"])?,
        extension: person(&value["extension"])?,
        remote: person(&value["remote"])?,
        direction: [Direction::Inbound, Direction::Outbound, Direction::Internal]
            .into_iter()
            .find(|d| value["direction"] == direction_name(*d))?,
        law: [Law::Mu, Law::A].into_iter().find(|law| value["codec"] == law.name())?,
        invite_ns: value["invite_ns"].as_i64()?,
        answer_ns: value["answer_ns"].as_i64(),
        end_ns: value["end_ns"].as_i64(),
        hold_ns: pair(&value["hold_ns"]),
        digits: text(&value["digits"])?,
        near: sent(&value["near"])?,
        far: sent(&value["far"])?,
    })
}

fn sent(value: &Value) -> Option<Sent> {
    let number = |name: &str| value[name].as_u64();
    Some(Sent {
        tone_hz: number("tone_hz")? as u32,
        from: value["from"].as_str()?.parse::<SocketAddr>().ok()?,
        ssrcs: value["ssrcs"]
            .as_array()?
            .iter()
            .map(|n| n.as_u64().map(|n| n as u32))
            .collect::<Option<_>>()?,
        packets: number("packets")?,
        lost: number("lost")?,
        duplicates: number("duplicates")?,
        reordered: number("reordered")?,
        events: number("events")?,
        noise: number("noise")?,
        sent_ns: pair(&value["sent_ns"]),
        audio_ms: number("audio_ms")?,
    })
}

fn pair(value: &Value) -> Option<(i64, i64)> {
    Some((value[0].as_i64()?, value[1].as_i64()?))
}

/// `mixed` never stands in a manifest: each call went one way.
fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Mixed => "mixed",
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
        Direction::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Ending, Scenario};

    #[test]
    fn a_call_reads_back_as_it_was_written() {
        for ending in [Ending::Bye, Ending::NoBye, Ending::Busy] {
            let scenario = Scenario {
                calls: 3,
                ending,
                hold: true,
                digits: "1#".to_owned(),
                loss_pct: 2.0,
                ..Scenario::default()
            };
            for truth in scenario.traffic().truth {
                assert_eq!(parse(&line(&truth)), Some(truth));
            }
        }
        assert_eq!(parse("{}"), None);
    }
}
