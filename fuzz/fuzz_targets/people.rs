//! People as an administrator writes them, in any order and with any overlap: no device is two users' at once, no unit below itself.
#![no_main]

use decode::Timestamp;
use libfuzzer_sys::fuzz_target;
use policy::People;
use policy::people::{Assignment, Device, DeviceKind, Tenure, User};

type Given = (u8, bool, bool, u8, Option<i8>, Option<i8>);

fuzz_target!(|input: (Vec<(&str, Option<&str>)>, Vec<(&str, Option<&str>)>, Vec<Given>)| {
    let (units, users, given) = input;
    let mut people = People::default();
    for (name, _) in &units {
        let _ = people.add_unit(name, None);
    }
    for (name, parent) in &units {
        let _ = people.put_unit_under(name, *parent);
    }
    assert!(people.units().tree().len() <= units.len() + 2);
    for (id, unit) in &users {
        let (id, unit) = ((*id).to_owned(), unit.map(str::to_owned));
        let _ = people.add_user(User { id, unit, ..User::default() });
    }
    let ids: Vec<String> = people.users().map(|user| user.id.clone()).collect();
    let at = |minute: i8| Timestamp::from_millis(i64::from(minute) * 60_000);
    for (who, is_agent, primary, number, from, until) in given {
        let Some(id) = ids.get(usize::from(who) % ids.len().max(1)) else { return };
        let kind = if is_agent { DeviceKind::Agent } else { DeviceKind::Extension };
        let device = Device { kind, number: (number % 4).to_string() };
        let tenure = Tenure { from: from.map(at), until: until.map(at) };
        match people.assign(id, Assignment { device: device.clone(), primary, tenure }) {
            Ok(()) => {}
            Err(_) if number < 200 => {}
            // Taken away from whoever has it, and some leave.
            Err(_) if number < 240 => drop(people.release(&device, at(from.unwrap_or_default()))),
            Err(_) => drop(people.remove_user(id, at(until.unwrap_or_default()))),
        }
    }
    for minute in i8::MIN..=i8::MAX {
        let who = people.who("1", Some("2"), at(minute));
        let device = |user: &str, kind, number: &str| {
            people.devices_of(user).any(|a| a.device == Device { kind, number: number.into() } && a.tenure.contains(at(minute)))
        };
        let agents = ids.iter().filter(|id| device(id, DeviceKind::Agent, "2")).count();
        let extensions = ids.iter().filter(|id| device(id, DeviceKind::Extension, "1")).count();
        assert!(agents <= 1 && extensions <= 1);
        assert_eq!(who.user.is_some(), agents + extensions > 0);
        assert!(who.units().count() <= policy::people::DEPTH_MAX);
    }
});
