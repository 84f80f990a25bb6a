//! Reading DER (X.690): one element after the other, borrowed from the bytes of somebody who may be lying.
//!
//! Only what a time stamp needs: tags of one byte and definite lengths of up to four. What is BER and not DER (indefinite
//! lengths, lengths written longer than need be) is refused. Nothing is copied, and nothing recurses.

/// Tags.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// `[1]`, constructed.
pub(crate) const CONTEXT_1: u8 = 0xa1;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements inside.
    pub(crate) fn inside(self) -> Elements<'a> {
        Elements(self.content)
    }
}

/// Elements that stand one behind the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

impl<'a> Elements<'a> {
    /// The next element, whatever it is; none at the end and where none can be read.
    pub(crate) fn take(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of several bytes do not occur here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = digits.iter().fold(0usize, |len, &digit| len << 8 | usize::from(digit));
                if len < 0x80 || digits.first() == Some(&0) {
                    return None;
                }
                (len, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(len)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Element { tag, content, whole })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.take().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    /// Nothing comes any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The one element that the bytes are.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    let mut elements = Elements(bytes);
    let element = elements.expect(tag)?;
    elements.is_empty().then_some(element)
}

/// An element with this content.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        len @ 0..=0x7f => bytes.push(len as u8),
        len => {
            let digits = (len as u32).to_be_bytes();
            let digits = digits.get(digits.iter().take_while(|&&digit| digit == 0).count()..);
            let digits = digits.unwrap_or_default();
            bytes.push(0x80 | digits.len() as u8);
            bytes.extend_from_slice(digits);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_at_every_length_of_the_length() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let content = vec![7; len];
            let bytes = element(SEQUENCE, &content);
            let read = only(&bytes, SEQUENCE).expect("one element");
            assert_eq!((read.content, read.whole), (&content[..], &bytes[..]));
            assert!(only(&bytes[..bytes.len() - 1], SEQUENCE).is_none(), "cut");
            assert!(only(&[&bytes[..], &[0]].concat(), SEQUENCE).is_none(), "something behind it");
        }
    }

    #[test]
    fn what_is_no_der_is_refused() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
            &[0x30, 0xff, 0],
            &[0x1f, 0x22, 0],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(Elements(bytes).take().is_none(), "{bytes:?}");
        }
    }
}
