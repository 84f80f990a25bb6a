//! `interfaces`: the network adapters of this machine.

use serde_json::json;

use super::{print_json, print_line};
use crate::cli;
use crate::failure::{Done, Failure};

pub(crate) fn run(args: &cli::Json) -> Result<Done, Failure> {
    for interface in capture::interfaces().map_err(Failure::new)? {
        let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
        let mac = interface.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        let state = if interface.running {
            "running"
        } else if interface.up {
            "up"
        } else {
            "down"
        };
        if args.json {
            print_json(&json!({
                "name": interface.name, "description": interface.description, "addresses": addresses,
                "mac": mac, "state": state, "loopback": interface.loopback,
            }))?;
        } else {
            print_line(&format!(
                "{:<16} {:<8} {:<18} {}",
                interface.name,
                state,
                mac.unwrap_or_default(),
                addresses.join(" ")
            ))?;
        }
    }
    Ok(Done::All)
}
