//! Whose spool it is, and who else may do what with it.

use crate::settings::Settings;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use spool::Spool;
use spool::error::{At, Error, Kind, Result};
use spool::role::{Role, Roles};
use std::ffi::CString;
use std::io;
use std::path::PathBuf;

/// What must be known to serve a local user.
pub struct House {
    /// The spool's directory.
    pub root: PathBuf,
    /// Where local users ask.
    pub socket: PathBuf,
    /// The program that lets them do what they may.
    pub builder: PathBuf,
    /// The configuration that builderd was given, if it was.
    pub config: Option<PathBuf>,
    owner: u32,
    roles: Roles,
}

/// A user of this machine with a role.
pub struct Resident {
    /// The name, or the number of a user who has none.
    pub name: String,
    /// What the user may do.
    pub role: Role,
}

impl House {
    /// The house of a spool. Paths become absolute, as verbs are carried out in `/`.
    pub fn new(spool: &Spool, settings: &Settings) -> Result<House> {
        let (root, config) = (spool.layout().root(), settings.current());
        let absolute = |path: PathBuf| std::path::absolute(&path).at("find", &path);
        Ok(House {
            root: root.to_owned(),
            socket: absolute(config.socket(root))?,
            builder: absolute(config.builder_program())?,
            config: settings.named().cloned().map(absolute).transpose()?,
            owner: spool.owner()?.0,
            roles: config.roles.clone(),
        })
    }

    /// What a user may do here: the owner and the superuser everything, others what builder.toml says of their name and
    /// of their groups, as the system's databases have them now (getpwuid(3), getgrouplist(3)).
    ///
    /// # Errors
    /// [`Kind::NoPermission`] for those of whom it says nothing.
    pub fn resident(&self, uid: u32) -> Result<Resident> {
        let user = User::from_uid(Uid::from_raw(uid)).map_err(io::Error::from).at("look up", format!("user {uid}"))?;
        let name = user.as_ref().map_or(uid.to_string(), |user| user.name.clone());
        if uid == 0 || uid == self.owner {
            return Ok(Resident { name, role: Role::Admin });
        }
        let groups = user.map_or(Ok(Vec::new()), |user| groups(&user))?;
        match self.roles.of(&name, &groups) {
            Some(role) => Ok(Resident { name, role }),
            None => {
                let what = format!("user {name} has no role at the spool {}", self.root.display());
                Err(Error::new(Kind::NoPermission, what).hint(
                    "its owner gives one under [roles] in builder.toml, and has builderd read that again (SIGHUP)",
                ))
            }
        }
    }
}

fn groups(user: &User) -> Result<Vec<String>> {
    let name = CString::new(user.name.as_str()).map_err(io::Error::from).at("look up", &user.name)?;
    let all: Vec<Gid> =
        getgrouplist(&name, user.gid).map_err(io::Error::from).at("look up the groups of", &user.name)?;
    // A group without a name can't be listed in builder.toml.
    Ok(all.into_iter().filter_map(|gid| Group::from_gid(gid).ok().flatten()).map(|group| group.name).collect())
}
