//! How a given value is printed and stored: values of env files are left out, because they may be secret.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{Given, Giver};

impl Given {
    /// True when the value comes from an env file of the user, so that it must not be printed or stored.
    pub fn is_private(&self) -> bool {
        matches!(self.by, Giver::EnvFile | Giver::MainEnvFile)
    }

    fn shown(&self) -> &str {
        if self.is_private() { "" } else { &self.value }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Given");
        shown.field("name", &self.name).field("at", &self.at).field("by", &self.by);
        if self.is_private() {
            shown.finish_non_exhaustive()
        } else {
            shown.field("value", &self.value).finish()
        }
    }
}

impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Given", 4)?;
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
    use crate::recognition::facts::Spot;

    #[test]
    fn values_of_env_files_are_neither_printed_nor_stored() {
        for (by, shown) in [(Giver::EnvFile, false), (Giver::MainEnvFile, false), (Giver::Example, true)] {
            let at = Spot { file: ".env".into(), line: 1 };
            let given = Given { name: "KEY".into(), value: "hunter2".into(), at, by };
            assert_eq!(format!("{given:?}").contains("hunter2"), shown);
            assert_eq!(serde_json::to_string(&given).unwrap().contains("hunter2"), shown);
        }
    }
}
