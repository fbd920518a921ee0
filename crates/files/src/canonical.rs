//! The one byte form of a JSON value: keys sorted by their bytes, no spaces. Equal values are equal bytes, so copies are compared
//! by their hash.

use serde::Serialize;
use serde_json::Value;

/// Writes `value` in its canonical form. Does not rely on the map type that `serde_json` was built with.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| name.as_bytes());
            sequence(out, *b"{}", fields, |out, (name, value)| {
                scalar(name, out);
                out.push(b':');
                write(value, out);
            });
        }
        Value::Array(items) => sequence(out, *b"[]", items, |out, item| write(item, out)),
        plain => scalar(plain, out),
    }
}

fn scalar(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a scalar always serialises into memory");
}

fn sequence<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    each: impl Fn(&mut Vec<u8>, T),
) {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level_and_nothing_is_added() {
        let value = serde_json::json!({"b": [1, {"z": null, "a": "ü\n"}], "a": 1.5});
        assert_eq!(canonical(&value), "{\"a\":1.5,\"b\":[1,{\"a\":\"ü\\n\",\"z\":null}]}".as_bytes());
    }
}
