//! Prints and stores given values without those of env files, which may be secret.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{GivenValue, Giver};

impl GivenValue {
    /// Returns true if the value comes from the user's env file, so that it must not be printed or stored.
    pub fn is_private(&self) -> bool {
        matches!(self.by, Giver::EnvFile | Giver::MainEnvFile)
    }

    fn shown(&self) -> &str {
        if self.is_private() { "" } else { &self.value }
    }
}

impl fmt::Debug for GivenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("GivenValue");
        shown.field("name", &self.name).field("at", &self.at).field("by", &self.by);
        if self.is_private() {
            shown.finish_non_exhaustive()
        } else {
            shown.field("value", &self.value).finish()
        }
    }
}

impl Serialize for GivenValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("GivenValue", 4)?;
        fields.serialize_field("name", &self.name)?;
        fields.serialize_field("value", self.shown())?;
        fields.serialize_field("at", &self.at)?;
        fields.serialize_field("by", &self.by)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recognition::facts::FileLine;

    #[test]
    fn values_of_env_files_are_neither_printed_nor_stored() {
        for (by, shown) in [(Giver::EnvFile, false), (Giver::MainEnvFile, false), (Giver::Example, true)] {
            let at = FileLine { file: ".env".into(), line: 1 };
            let given = GivenValue { name: "KEY".into(), value: "hunter2".into(), at, by };
            assert_eq!(format!("{given:?}").contains("hunter2"), shown);
            assert_eq!(serde_json::to_string(&given).unwrap().contains("hunter2"), shown);
        }
    }
}
