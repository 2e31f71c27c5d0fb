//! What containerd passes on from its configuration or its client: `containerd.runc.v1.Options`, and for a runtime whose name
//! its CRI part does not know `runtimeoptions.v1.Options`, which carry the same as TOML.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fault::{Answer, Code, Fault};
use super::os;
use super::protobuf::Message;

/// The options of a container. Their JSON is what containerd's shim keeps in `options.json`, so that either can clean up after the
/// other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    #[serde(skip_serializing_if = "is_default")]
    pub no_pivot_root: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_keyring: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub shim_cgroup: String,
    #[serde(skip_serializing_if = "is_default")]
    pub io_uid: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub io_gid: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub binary_name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub root: String,
    #[serde(skip_serializing_if = "is_default")]
    pub systemd_cgroup: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub criu_image_path: String,
    #[serde(skip_serializing_if = "is_default")]
    pub criu_work_path: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The type of an Any, without the prefix that some put before it.
pub fn kind_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

impl Options {
    /// From the Any of a request; without one, the defaults.
    pub fn from_any(any: Option<Message<'_>>) -> Answer<Options> {
        let Some(any) = any else { return Ok(Options::default()) };
        let value = Message::new(any.bytes(2)?.unwrap_or_default())?;
        match kind_of(any.text(1)?) {
            "" => Ok(Options::default()),
            "containerd.runc.v1.Options" => Options::from_message(value),
            "containerd.linux.runc.CreateOptions" => Options::from_older_message(value),
            "runtimeoptions.v1.Options" => Options::from_config(value),
            other => Err(Fault::new(Code::InvalidArgument, format!("options of type {other} are not known"))),
        }
    }

    fn from_message(message: Message<'_>) -> Answer<Options> {
        let text = |field| message.text(field).map(str::to_owned);
        Ok(Options {
            no_pivot_root: message.flag(1)?,
            no_new_keyring: message.flag(2)?,
            shim_cgroup: text(3)?,
            io_uid: message.number32(4)?,
            io_gid: message.number32(5)?,
            binary_name: text(6)?,
            root: text(7)?,
            systemd_cgroup: message.flag(9)?,
            criu_image_path: text(10)?,
            criu_work_path: text(11)?,
        })
    }

    /// What `ctr` of containerd 1.x sends for a runtime of another name than runc's.
    fn from_older_message(message: Message<'_>) -> Answer<Options> {
        Ok(Options {
            no_pivot_root: message.flag(1)?,
            no_new_keyring: message.flag(8)?,
            shim_cgroup: message.text(9)?.to_owned(),
            io_uid: message.number32(10)?,
            io_gid: message.number32(11)?,
            criu_work_path: message.text(12)?.to_owned(),
            criu_image_path: message.text(13)?.to_owned(),
            ..Options::default()
        })
    }

    /// The body of a `[plugins…runtimes.NAME.options]` table, or a file named in it.
    fn from_config(message: Message<'_>) -> Answer<Options> {
        let (path, body) = (message.text(2)?, message.text(3)?);
        if !body.is_empty() || path.is_empty() {
            return Options::from_toml(body);
        }
        let text = os::read_file(&os::path(path), 1 << 20).map_err(Fault::doing(format_args!("read {path}")))?;
        let text = String::from_utf8(text).map_err(Fault::doing(path))?;
        Options::from_toml(&text)
    }

    /// Lines `Key = value` with texts, numbers and booleans: the options have no others. A key that is not one is an error, since
    /// what it asks for would not happen.
    fn from_toml(text: &str) -> Answer<Options> {
        let mut options = Options::default();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') || line.starts_with('[') {
                continue;
            }
            let wrong =
                || Fault::new(Code::InvalidArgument, format!("the runtime's options: {line} is not understood"));
            let (key, value) = line.split_once('=').ok_or_else(wrong)?;
            let value = value.trim();
            let quoted = || {
                let inner = value.strip_prefix('"')?.split('"').next()?;
                (!inner.contains('\\')).then(|| inner.to_owned())
            };
            let plain = value.split('#').next().unwrap_or_default().trim();
            let text = || {
                quoted().or_else(|| Some(value.strip_prefix('\'')?.split('\'').next()?.to_owned())).ok_or_else(wrong)
            };
            let flag = || plain.parse().map_err(|_| wrong());
            let number = || plain.parse().map_err(|_| wrong());
            match key.trim().trim_matches('"') {
                "NoPivotRoot" => options.no_pivot_root = flag()?,
                "NoNewKeyring" => options.no_new_keyring = flag()?,
                "ShimCgroup" => options.shim_cgroup = text()?,
                "IoUid" => options.io_uid = number()?,
                "IoGid" => options.io_gid = number()?,
                "BinaryName" => options.binary_name = text()?,
                "Root" => options.root = text()?,
                "SystemdCgroup" => options.systemd_cgroup = flag()?,
                "CriuImagePath" => options.criu_image_path = text()?,
                "CriuWorkPath" => options.criu_work_path = text()?,
                // Removed in containerd 2.0: the runtime finds CRIU itself. And what carries these options.
                "CriuPath" | "TypeUrl" | "ConfigPath" => {}
                _ => return Err(wrong()),
            }
        }
        Ok(options)
    }

    /// Keeps them in the bundle, for `delete` after the shim has died.
    pub fn save(&self, bundle: &Path) -> Answer<()> {
        let json = serde_json::to_vec(self).map_err(Fault::doing("options"))?;
        os::write_file(&bundle.join("options.json"), &json).map_err(Fault::doing("write options.json"))?;
        // Older shims read this file alone.
        os::write_file(&bundle.join("runtime"), self.binary_name.as_bytes())
            .map_err(Fault::doing("write the runtime's name"))
    }

    /// What was kept; the defaults when the container was not even created.
    pub fn load(bundle: &Path) -> std::io::Result<Options> {
        let none = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        };
        let json = os::read_file(&bundle.join("options.json"), 1 << 20).or_else(none)?;
        let mut options: Options = if json.is_empty() { Options::default() } else { serde_json::from_slice(&json)? };
        if options.binary_name.is_empty() {
            let name = os::read_file(&bundle.join("runtime"), 4096).or_else(none)?;
            options.binary_name = String::from_utf8_lossy(&name).trim().to_owned();
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::{Message, Writer};
    use super::Options;

    fn any(kind: &str, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut value = Writer::new();
        write(&mut value);
        let mut any = Writer::new();
        any.text(1, kind).bytes(2, &value.done());
        any.done()
    }

    #[test]
    fn options_come_as_a_message_or_as_toml() {
        let wanted = Options {
            no_pivot_root: true,
            io_uid: 5,
            binary_name: "/usr/bin/brisk".into(),
            root: "/run/r".into(),
            systemd_cgroup: true,
            ..Options::default()
        };
        let message = any("containerd.runc.v1.Options", |value| {
            value.number(1, true).number(4, 5u32).text(6, "/usr/bin/brisk").text(7, "/run/r").number(9, true);
        });
        let read = |bytes: &[u8]| Options::from_any(Some(Message::new(bytes).unwrap()));
        assert_eq!(read(&message).unwrap(), wanted);
        let toml = "# comment\nBinaryName = \"/usr/bin/brisk\"\n  NoPivotRoot = true # yes\nIoUid=5\nRoot = '/run/r'\nSystemdCgroup = true\n";
        let message = any("type.googleapis.com/runtimeoptions.v1.Options", |value| {
            value.text(1, "x").text(3, toml);
        });
        assert_eq!(read(&message).unwrap(), wanted);
        let json = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), wanted);
        let known =
            r#"{"no_pivot_root":true,"io_uid":5,"binary_name":"/usr/bin/brisk","root":"/run/r","systemd_cgroup":true}"#;
        assert_eq!(json, known);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let read = |bytes: &[u8]| Options::from_any(Some(Message::new(bytes).unwrap()));
        for toml in ["Unknown = 1", "SystemdCgroup = \"yes\"", "BinaryName = brisk", "IoUid = -1", "nonsense"] {
            let message = any("runtimeoptions.v1.Options", |value| {
                value.text(3, toml);
            });
            assert!(read(&message).unwrap_err().message.contains(toml), "{toml}");
        }
        assert!(read(&any("windows.Options", |_| ())).is_err());
        assert_eq!(read(&any("", |_| ())).unwrap(), Options::default());
    }
}
