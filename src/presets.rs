//! UDP ports that well-known telephone systems use for audio, as they come from their makers. Where each figure is from stands in
//! `docs/ports.md`.
//!
//! A preset is copied into the rule book: another version of the program, with other figures, changes no rule.

/// What one kind of system uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preset {
    /// As the command line takes it.
    pub(crate) name: &'static str,
    /// Of what it is.
    pub(crate) of: &'static str,
    /// Its ranges, as `site.rtp_ports` takes them.
    pub(crate) ranges: &'static [&'static str],
}

/// All of them, by name.
pub(crate) const PRESETS: [Preset; 12] = [
    Preset { name: "3cx", of: "3CX 15.5 and later", ranges: &["7000-10999"] },
    Preset { name: "asterisk", of: "Asterisk, FreePBX (rtp.conf as delivered)", ranges: &["10000-20000"] },
    Preset { name: "asterisk-default", of: "Asterisk without an rtp.conf", ranges: &["5000-31000"] },
    Preset {
        name: "avaya-communication-manager",
        of: "Avaya Communication Manager (network region)",
        ranges: &["2048-3329"],
    },
    Preset {
        name: "avaya-ip-office",
        of: "Avaya IP Office (LAN, VoIP)",
        ranges: &["46750-50750", "49152-53247"],
    },
    Preset { name: "cisco-cucm", of: "Cisco Unified Communications Manager", ranges: &["16384-32767"] },
    Preset { name: "freeswitch", of: "FreeSWITCH (switch.conf.xml as delivered)", ranges: &["16384-32768"] },
    Preset { name: "innovaphone", of: "innovaphone", ranges: &["16384-32767"] },
    Preset { name: "mivoice-business", of: "Mitel MiVoice Business, 3300 ICP", ranges: &["50000-50511"] },
    Preset {
        name: "mivoice-office-250",
        of: "Mitel MiVoice Office 250, 5000 CP",
        ranges: &["5004-5007", "6004-7039", "20000-20500", "50098-50508"],
    },
    Preset { name: "rtpengine", of: "rtpengine, beside Kamailio or OpenSIPS", ranges: &["30000-40000"] },
    Preset { name: "rtpproxy", of: "RTPproxy, beside Kamailio or OpenSIPS", ranges: &["35000-65000"] },
];

/// The preset of this name.
pub(crate) fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use decode::ports::PortRange;

    use super::*;

    #[test]
    fn every_preset_is_a_list_of_ranges_and_has_its_source_in_the_docs() {
        let docs = include_str!("../docs/ports.md");
        assert!(PRESETS.is_sorted_by_key(|preset| preset.name));
        for preset in PRESETS {
            let ranges: Vec<PortRange> =
                preset.ranges.iter().map(|text| text.parse().expect("a range")).collect();
            let line = docs.lines().find(|line| line.starts_with(&format!("| `{}` |", preset.name)));
            let line = line.unwrap_or_else(|| panic!("{} is not in docs/ports.md", preset.name));
            let written: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert_eq!(cells.get(2), Some(&written.join(", ").as_str()), "{}", preset.name);
            assert!(cells.get(3).is_some_and(|source| source.len() > 10), "{}: no source", preset.name);
        }
        assert_eq!(named("asterisk").map(|preset| preset.ranges), Some(&["10000-20000"][..]));
    }
}
