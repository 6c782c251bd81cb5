//! Paths and names in JSON, without losing bytes.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A path or file name. In JSON it is a string when it is UTF-8, else `{"base64": "…"}` with its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnyPath(pub PathBuf);

impl AnyPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path as the system's string.
    pub fn as_os_str(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl<T: Into<PathBuf>> From<T> for AnyPath {
    fn from(path: T) -> Self {
        Self(path.into())
    }
}

/// How an [`AnyPath`] looks in JSON.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum Wire<'a> {
    /// UTF-8.
    Text(Cow<'a, str>),
    /// Anything else.
    Bytes {
        /// The bytes.
        base64: String,
    },
}

impl Serialize for AnyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => Wire::Text(Cow::Borrowed(text)),
            None => Wire::Bytes { base64: BASE64.encode(self.0.as_os_str().as_bytes()) },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AnyPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Text(text) => Ok(Self(PathBuf::from(text.into_owned()))),
            Wire::Bytes { base64 } => {
                let bytes = BASE64.decode(base64.as_bytes()).map_err(serde::de::Error::custom)?;
                Ok(Self(PathBuf::from(std::ffi::OsString::from_vec(bytes))))
            }
        }
    }
}

impl utoipa::PartialSchema for AnyPath {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Wire::schema()
    }
}

impl ToSchema for AnyPath {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AnyPath")
    }
}

/// Bytes that are base64 in JSON: a .torrent file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_bytes_in_json() {
        for bytes in [&b"plain"[..], "gr\u{fc}n/\u{1f40c}".as_bytes(), b"\xff\xfe/odd", b""] {
            let path = AnyPath::from(OsStr::from_bytes(bytes));
            let json = serde_json::to_string(&path).unwrap();
            assert_eq!(serde_json::from_str::<AnyPath>(&json).unwrap(), path, "{json}");
        }
        assert_eq!(serde_json::to_string(&AnyPath::from("a/b")).unwrap(), r#""a/b""#);
    }

    #[test]
    fn bytes_are_base64_in_json() {
        let json = serde_json::to_string(&Base64(b"d4:infoe".to_vec())).unwrap();
        assert_eq!(json, r#""ZDQ6aW5mb2U=""#);
        assert_eq!(serde_json::from_str::<Base64>(&json).unwrap().0, b"d4:infoe");
        assert!(serde_json::from_str::<Base64>(r#""%%%""#).is_err());
    }
}
