//! Shapes of JSON, as the document tells them (JSON Schema 2020-12, as much of it as the API needs), and whether a value has one.
//!
//! Bodies and queries of requests are judged by the very shapes that the document shows, so that these cannot promise something else;
//! tests judge answers by them.

use serde_json::{Map, Value, json};

/// The part of the document that has the shapes with a name.
pub(super) const NAMED: &str = "#/components/schemas/";

/// One with a name.
pub(super) fn of(name: &str) -> Value {
    json!({ "$ref": format!("{NAMED}{name}") })
}

/// A text; `about` says of what.
pub(super) fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

/// A text of this many characters.
pub(super) fn short(about: &str, least: usize, most: usize) -> Value {
    json!({ "type": "string", "description": about, "minLength": least, "maxLength": most })
}

/// What names have none of.
const NO_CONTROL: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// A name or a number: not empty, no control characters.
pub(super) fn name(about: &str, most: usize) -> Value {
    json!({ "type": "string", "description": about, "minLength": 1, "maxLength": most, "pattern": NO_CONTROL })
}

/// The same, or null.
pub(super) fn maybe_name(about: &str, most: usize) -> Value {
    json!({ "type": ["string", "null"], "description": about, "minLength": 1, "maxLength": most, "pattern": NO_CONTROL })
}

/// A text that is not always there.
pub(super) fn maybe_text(about: &str) -> Value {
    json!({ "type": ["string", "null"], "description": about })
}

/// A moment.
pub(super) fn moment(about: &str) -> Value {
    json!({ "type": "string", "format": "date-time", "minLength": 1, "description": about })
}

/// A moment that is not always there.
pub(super) fn maybe_moment(about: &str) -> Value {
    json!({ "type": ["string", "null"], "format": "date-time", "description": about })
}

/// A count, from 0.
pub(super) fn count(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

/// A count up to so many.
pub(super) fn up_to(about: &str, least: u64, most: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": most, "description": about })
}

/// Yes or no.
pub(super) fn yes(about: &str) -> Value {
    json!({ "type": "boolean", "description": about })
}

/// One of these words.
pub(super) fn one_of<'w>(about: &str, words: impl IntoIterator<Item = &'w str>) -> Value {
    json!({ "type": "string", "description": about, "enum": words.into_iter().collect::<Vec<_>>() })
}

/// Several of one shape.
pub(super) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Several of one shape, at most so many.
pub(super) fn list_up_to(items: Value, least: usize, most: usize) -> Value {
    json!({ "type": "array", "items": items, "minItems": least, "maxItems": most })
}

/// An object with these members. What is marked with `?` behind its name need not be there. No others are taken, nor given.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, shape) in members {
        let name = match name.strip_suffix('?') {
            Some(name) => name,
            None => {
                required.push(name);
                name
            }
        };
        properties.insert(name.to_owned(), shape);
    }
    let mut shape = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty()
        && let Some(shape) = shape.as_object_mut()
    {
        shape.insert("required".to_owned(), json!(required));
    }
    shape
}

/// The same, and later versions may give more members than these.
pub(super) fn open<const N: usize>(members: [(&str, Value); N]) -> Value {
    let mut shape = object(members);
    if let Some(shape) = shape.as_object_mut() {
        shape.insert("additionalProperties".to_owned(), json!(true));
    }
    shape
}

/// Judges values by shapes; `named` are those with a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'n> {
    pub(super) named: &'n Map<String, Value>,
}

impl Judge<'_> {
    /// Has the value this shape?
    ///
    /// # Errors
    /// What is off, with the place of it; `at` is what the value is called.
    pub(super) fn judge(self, at: &str, shape: &Value, value: &Value) -> Result<(), String> {
        let shape = self.resolve(at, shape)?;
        if let Some(ways) = shape.get("anyOf").and_then(Value::as_array) {
            let wrong: Vec<(bool, String)> = ways
                .iter()
                .map_while(|way| {
                    let why = self.judge(at, way, value).err()?;
                    let is_of_its_kind =
                        self.resolve(at, way).is_ok_and(|way| self.kind(at, way, value).is_ok());
                    Some((is_of_its_kind, why))
                })
                .collect();
            if wrong.len() < ways.len() {
                return Ok(());
            }
            // What comes closest is told.
            let told = wrong.iter().find(|(is_of_its_kind, _)| *is_of_its_kind).or(wrong.last());
            return Err(told.map_or_else(|| at.to_owned(), |(_, why)| why.clone()));
        }
        self.kind(at, shape, value)?;
        if let Some(words) = shape.get("enum").and_then(Value::as_array)
            && !words.contains(value)
        {
            let words: Vec<String> =
                words.iter().map(|word| word.as_str().map_or(word.to_string(), str::to_owned)).collect();
            return Err(format!("{at}: {}", words.join(", ")));
        }
        match value {
            Value::String(text) => {
                within(at, "characters", shape, ["minLength", "maxLength"], text.chars().count() as u64)
            }
            Value::Number(number) => match number.as_u64() {
                Some(number) => within(at, "", shape, ["minimum", "maximum"], number),
                None if shape.get("minimum").is_some() => Err(format!("{at}: not under 0")),
                None => Ok(()),
            },
            Value::Array(items) => {
                within(at, "entries", shape, ["minItems", "maxItems"], items.len() as u64)?;
                let Some(shape) = shape.get("items") else { return Ok(()) };
                items
                    .iter()
                    .enumerate()
                    .try_for_each(|(i, item)| self.judge(&format!("{at}[{i}]"), shape, item))
            }
            Value::Object(members) => self.members(at, shape, members),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    /// The shape itself, where a name stands for it.
    fn resolve<'s>(&'s self, at: &str, shape: &'s Value) -> Result<&'s Value, String> {
        let Some(name) = shape.get("$ref").and_then(Value::as_str) else { return Ok(shape) };
        let named = name.strip_prefix(NAMED).and_then(|name| self.named.get(name));
        named.ok_or_else(|| format!("{at}: no shape {name}"))
    }

    fn kind(self, at: &str, shape: &Value, value: &Value) -> Result<(), String> {
        let is = |kind: &str| match kind {
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => value.is_null(),
        };
        let kinds: Vec<&str> = match shape.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => return Ok(()),
        };
        if kinds.iter().any(|kind| is(kind)) { Ok(()) } else { Err(format!("{at}: {}", kinds.join(" or "))) }
    }

    fn members(self, at: &str, shape: &Value, members: &Map<String, Value>) -> Result<(), String> {
        let required = shape.get("required").and_then(Value::as_array);
        let missing = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .find(|name| !members.contains_key(*name));
        if let Some(name) = missing {
            return Err(format!("{at}: {name} is missing"));
        }
        let properties = shape.get("properties").and_then(Value::as_object);
        for (name, value) in members {
            let place = format!("{at}.{name}");
            match (properties.and_then(|properties| properties.get(name)), shape.get("additionalProperties"))
            {
                (Some(shape), _) => self.judge(&place, shape, value)?,
                (None, Some(Value::Bool(false))) => return Err(format!("{at}: there is no {name:?}")),
                (None, Some(shape @ Value::Object(_))) => self.judge(&place, shape, value)?,
                (None, _) => {}
            }
        }
        Ok(())
    }
}

fn within(at: &str, unit: &str, shape: &Value, names: [&str; 2], number: u64) -> Result<(), String> {
    let [least, most] = names.map(|name| shape.get(name).and_then(Value::as_u64));
    if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
        return Ok(());
    }
    let words = match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most} {unit}"),
        (Some(least), None) => format!("at least {least} {unit}"),
        (_, most) => format!("at most {} {unit}", most.unwrap_or_default()),
    };
    Err(format!("{at}: {}", words.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_shape_or_is_told_where_it_has_not() {
        let named = Map::from_iter([("Tag".to_owned(), short("A tag", 1, 3))]);
        let judge = |value: Value| {
            let shape = object([
                ("tags", list_up_to(of("Tag"), 0, 2)),
                ("stars?", up_to("Stars", 0, 5)),
                ("way?", one_of("Which", ["in", "out"])),
                ("by?", maybe_text("Who")),
                ("at?", json!({ "anyOf": [text("Where"), list(text("Where"))] })),
            ]);
            Judge { named: &named }.judge("body", &shape, &value)
        };
        for right in
            [json!({ "tags": [] }), json!({ "tags": ["a", "äöü"], "stars": 5, "way": "in", "by": null })]
        {
            assert_eq!(judge(right.clone()), Ok(()), "{right}");
        }
        for (wrong, why) in [
            (json!([]), "body: object"),
            (json!({}), "body: tags is missing"),
            (json!({ "tags": [1] }), "body.tags[0]: string"),
            (json!({ "tags": ["long"] }), "body.tags[0]: 1 to 3 characters"),
            (json!({ "tags": ["a", "b", "c"] }), "body.tags: 0 to 2 entries"),
            (json!({ "tags": [], "stars": 6 }), "body.stars: 0 to 5"),
            (json!({ "tags": [], "stars": -1 }), "body.stars: not under 0"),
            (json!({ "tags": [], "stars": 1.5 }), "body.stars: integer"),
            (json!({ "tags": [], "way": "up" }), "body.way: in, out"),
            (json!({ "tags": [], "more": 1 }), "body: there is no \"more\""),
            (json!({ "tags": [], "at": [true] }), "body.at[0]: string"),
            (json!({ "tags": [], "at": true }), "body.at: array"),
        ] {
            assert_eq!(judge(wrong), Err(why.to_owned()));
        }
    }
}
