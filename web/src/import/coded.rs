//! What symphonia decodes: MP3, FLAC, Ogg Vorbis, AAC and ALAC in M4A. Its samples are kept, as 16 bits at the file's rate.
//!
//! A packet that does not decode ends the import: a file with a hole would be shorter than what it was made of, and nobody
//! would see where.

use std::fs::File;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::{Coding, Speaker};

/// Packets without any audio in a row, after which a file is not believed.
const EMPTY_MAX: usize = 10_000;

/// Reads the file.
pub(super) fn read(file: File, speaker: &Speaker) -> Result<(), String> {
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|_| {
            "it is no audio file of a kind that is read: WAV, MP3, FLAC, Ogg Vorbis, AAC".to_owned()
        })?;
    let track = reader.default_track(TrackType::Audio).ok_or("there is no audio in it")?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio()).cloned();
    let parameters = parameters.ok_or("there is no audio in it")?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .map_err(|error| format!("its encoding is not read: {error}"))?;
    let mut begun: Option<(u32, usize)> = None;
    let (mut samples, mut empty) = (Vec::<i16>::new(), 0);
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => return Err(format!("it breaks off: {error}")),
        };
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|error| format!("it does not decode: {error}"))?;
        let shape = (decoded.spec().rate(), decoded.num_planes());
        if decoded.frames() == 0 {
            empty += 1;
            if empty > EMPTY_MAX {
                return Err("it goes on without audio".into());
            }
            continue;
        }
        empty = 0;
        match begun {
            None => {
                let (rate, channels) = shape;
                let coding = Coding::linear(rate, channels).ok_or_else(|| {
                    format!("{channels} channels at {rate} Hz: one or two at 8 to 48 kHz are read")
                })?;
                speaker.begin(coding)?;
                begun = Some(shape);
            }
            Some(before) if before != shape => {
                return Err("its rate or its channels change on the way".into());
            }
            Some(_) => {}
        }
        samples.clear();
        decoded.copy_to_vec_interleaved(&mut samples);
        speaker.block(samples.iter().flat_map(|sample| sample.to_be_bytes()).collect())?;
    }
    if begun.is_none() { Err("there is no audio in it".into()) } else { Ok(()) }
}
