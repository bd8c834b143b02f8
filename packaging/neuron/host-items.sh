# shellcheck shell=bash
# What packaging/neuron/setup-host looks at and sets up: AWS's packages, the desktop, Amazon DCV. Python and the application are
# in host-application.sh.
#
# For each item `have_ITEM` looks: 0 or 1, with `told` (what is the case) and `mend` (what a person would do) set. `make_ITEM`
# sets it up and is called only when it is missing; an item without one is left to a person. Whatever changes the system goes
# through `run` or `put`, which print instead when nothing is to be changed.
#
# CHATAPP_HOST_ROOT  a folder that stands for / (for tests)

# Variables of setup-host and of packaging/setup.sh, and those that are set here for setup-host:
# shellcheck disable=SC2154,SC2034
host=${CHATAPP_HOST_ROOT:-}
# What cannot be mended comes first; the desktop comes before the long installation of the libraries, so that somebody can look in.
items=(index driver device python desktop qt wayland target dcv nogl dcvgroup quic dcvserver password session venv app launcher entry)
session=chatapp
told="" mend=""
# AWS's key for the Neuron packages. Bottlerocket, AWS's system for containers, checks its Neuron driver against the same one.
neuron_key=00FA2C1079260870A76D2C285749CAD8646D9185
dcv_site=https://d1uj6qtbmh3dt5.cloudfront.net
dcv_version=2025.0 dcv_build=20103 xdcv_build=688

run() {
  if [[ $mode == dry ]]; then
    printf 'would run:'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@" >&2
  fi
}

# Writes standard input to a file: put MODE PATH.
put() {
  if [[ $mode == dry ]]; then
    printf 'would write: %s\n' "$2"
    cat >/dev/null
  else
    mkdir -p -- "$(dirname -- "$host$2")"
    cat >"$host$2.new"
    chmod -- "$1" "$host$2.new"
    mv -- "$host$2.new" "$host$2"
  fi
}

# fetch URL FILE, into the scratch folder.
fetch() { run curl --fail --silent --show-error --location --proto '=https' --retry 3 --output "$scratch/$2" "$1"; }

recognise_system() {
  local release=$host/etc/os-release ID="" VERSION_ID="" VERSION_CODENAME=""
  [[ $(uname -s) == Linux && -r $release ]] || die "this is for Ubuntu 22.04 and 24.04 and Amazon Linux 2023."
  # shellcheck disable=SC1090
  source "$release"
  case $ID-$VERSION_ID in
    ubuntu-22.04 | ubuntu-24.04) packages=deb dcv_system=ubuntu${VERSION_ID/./} codename=$VERSION_CODENAME gdm=/etc/gdm3/custom.conf ;;
    amzn-2023) packages=rpm dcv_system=amzn2023 codename="" gdm=/etc/gdm/custom.conf ;;
    *) die "$ID $VERSION_ID is not supported; Ubuntu 22.04 and 24.04 and Amazon Linux 2023 are." ;;
  esac
  [[ $(uname -m) == x86_64 ]] || die "inf2 and trn1 instances are x86-64; this is $(uname -m)."
}

choose_user() {
  local name
  [[ $user != root ]] || die "the desktop must not be root's: name an ordinary user with --user."
  for name in "$user" "${SUDO_USER:-}" ubuntu ec2-user; do
    [[ -n $name && $name != root ]] || continue
    if id -u "$name" >/dev/null 2>&1; then
      user=$name
      return
    fi
    [[ $name != "$user" ]] || die "there is no user $user; make one (adduser $user) or name another with --user."
  done
  die "whose desktop is it? Name a user: --user NAME"
}

# The version of an installed system package; fails if it is not installed.
package_version() {
  local found
  if [[ $packages == deb ]]; then
    # shellcheck disable=SC2016
    found=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' "$1" 2>/dev/null) || return 1
    [[ $found == "installed "* ]] || return 1
    found=${found#installed }
    printf '%s\n' "${found##*:}" # without an epoch
  else
    rpm --query --queryformat '%{VERSION}\n' "$1" 2>/dev/null
  fi
}

installed() { package_version "$1" >/dev/null; }

at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort --version-sort | head -n 1) == "$2" ]]; }

install_packages() {
  if [[ $packages == deb ]]; then
    run apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "$@"
  else
    run dnf install -y "$@"
  fi
}

install_words() { if [[ $packages == deb ]]; then echo "sudo apt-get install"; else echo "sudo dnf install"; fi; }

# The value of a key in a section of an ini file: ini_value FILE SECTION KEY.
ini_value() {
  [[ -r $1 ]] || return 1
  awk -v section="[$2]" -v key="$3" '
    /^[ \t]*\[/ { here = ($1 == section) }
    here && /^[^#;]*=/ { name = $0; sub(/[ \t]*=.*/, "", name); gsub(/[ \t]/, "", name)
      if (name == key) { value = $0; sub(/^[^=]*=[ \t]*/, "", value); sub(/[ \t]+$/, "", value); gsub(/"/, "", value); found = value } }
    END { if (found == "") exit 1; print found }' "$1"
}

# The file with that key set, on standard output.
ini_with() {
  local text=/dev/null
  [[ ! -r $1 ]] || text=$1
  awk -v section="[$2]" -v key="$3" -v value="$4" '
    /^[ \t]*\[/ { here = ($1 == section) }
    here && /^[^#;]*=/ { name = $0; sub(/[ \t]*=.*/, "", name); gsub(/[ \t]/, "", name); if (name == key) next }
    { print }
    here && !done && /^[ \t]*\[/ { print key "=" value; done = 1 }
    END { if (!done) print section "\n" key "=" value }' "$text"
}

# --- AWS's packages

have_index() {
  mend="add AWS's Neuron repository, as the SDK's documentation tells (Neuron Setup Guide)"
  if grep -rqs 'repos\.neuron\.amazonaws\.com' "$host/etc/apt/sources.list.d" "$host/etc/yum.repos.d"; then
    told="AWS's Neuron package repository is known"
  else
    told="AWS's Neuron package repository is not known" && return 1
  fi
}

make_index() {
  local kind=apt
  [[ $packages == deb ]] || kind=yum
  fetch "https://$kind.repos.neuron.amazonaws.com/GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB" neuron.pub
  [[ $mode == dry ]] || check_key
  if [[ $packages == deb ]]; then
    run gpg --batch --yes --dearmor --output "$scratch/neuron.gpg" "$scratch/neuron.pub"
    [[ $mode != dry ]] || : >"$scratch/neuron.gpg"
    put 644 /usr/share/keyrings/neuron.gpg <"$scratch/neuron.gpg"
    put 644 /etc/apt/sources.list.d/neuron.list <<<"deb [signed-by=/usr/share/keyrings/neuron.gpg] https://apt.repos.neuron.amazonaws.com $codename main"
    run apt-get -o DPkg::Lock::Timeout=600 update
  else
    run rpm --import "$scratch/neuron.pub"
    put 644 /etc/yum.repos.d/neuron.repo <<'REPO'
[neuron]
name=Neuron YUM Repository
baseurl=https://yum.repos.neuron.amazonaws.com
enabled=1
gpgcheck=1
metadata_expire=0
REPO
  fi
}

check_key() {
  local found
  found=$(gpg --batch --show-keys --with-colons "$scratch/neuron.pub" | awk -F: '$1 == "fpr" { print $10; exit }')
  [[ $found == "$neuron_key" ]] || die "the key of AWS's Neuron repository is not the known one: ${found:-none}, known: $neuron_key." \
    "Nothing was added. If AWS has announced a new key, add the repository by hand and start again."
}

have_driver() {
  local pin name floor found missing=()
  for pin in $driver_set; do
    name=${pin%%=*} floor=${pin#*=}
    if ! found=$(package_version "$name"); then
      missing+=("$name is missing")
    elif ! at_least "$found" "$floor"; then
      missing+=("$name $found is older than $floor")
    fi
  done
  told="the Neuron driver, runtime, collectives and tools are there"
  mend="$(install_words) $driver_set"
  ((${#missing[@]} == 0)) && return
  told=$(IFS=,; echo "${missing[*]}")
  told=${told//,/, }
  return 1
}

make_driver() {
  local pin name floor found wanted=()
  for pin in $driver_set; do
    name=${pin%%=*} floor=${pin#*=}
    if found=$(package_version "$name") && at_least "$found" "$floor"; then continue; fi
    if [[ $packages == deb ]]; then wanted+=("$name=$floor*"); else wanted+=("$name-$floor*"); fi
  done
  if ! installed aws-neuronx-dkms; then
    if [[ $packages == deb ]]; then
      install_packages "linux-headers-$(uname -r)"
    else
      install_packages "kernel-devel-$(uname -r)" "kernel-headers-$(uname -r)"
    fi
  fi
  install_packages "${wanted[@]}"
}

have_device() {
  local count
  count=$(compgen -G "$host/dev/neuron[0-9]*" | wc -l)
  told="$count Neuron devices"
  [[ $count != 1 ]] || told="1 Neuron device"
  mend="launch an inf2 or trn1 instance; if this is one, see \`dmesg | grep -i neuron\`; --no-device sets up for compiling alone"
  if [[ $with_device == no ]]; then
    told="no Neuron device is asked for"
  elif ((count == 0)); then
    told="there is no /dev/neuron*: this instance has no Inferentia or Trainium chip, or its driver is not loaded"
    return 1
  fi
}

make_device() { run modprobe neuron || true; } # what it failed of shows in the look that follows

# --- the desktop

have_desktop() {
  mend="sudo apt-get install ubuntu-desktop-minimal gdm3 mesa-utils"
  [[ $packages == deb ]] || mend="sudo dnf groupinstall Desktop"
  told="GNOME is installed"
  if ! installed gnome-shell; then
    told="no GNOME desktop" && return 1
  fi
}

make_desktop() {
  if [[ $packages == deb ]]; then
    run apt-get -o DPkg::Lock::Timeout=600 install -y ubuntu-desktop-minimal gdm3 mesa-utils # with what they recommend
  else
    run dnf groupinstall -y Desktop
  fi
}

missing_libraries() {
  local known library package
  known=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null || true)
  while read -r library package; do
    [[ -z $library || $known == *"$library "* ]] && continue
    # An RPM says which libraries it has, so that no list of names is needed.
    if [[ $packages == deb ]]; then printf '%s\n' "$package"; else printf '%s()(64bit)\n' "$library"; fi
  done <<<"$libraries"
}

have_qt() {
  local missing
  mapfile -t missing < <(missing_libraries)
  mend="$(install_words) ${missing[*]}"
  told="Qt's system libraries are there, libxcb-cursor too"
  if ((${#missing[@]})); then
    told="system libraries that Qt needs are missing: ${missing[*]}" && return 1
  fi
}

make_qt() {
  local missing
  mapfile -t missing < <(missing_libraries)
  install_packages "${missing[@]}"
}

have_wayland() {
  mend="put WaylandEnable=false below [daemon] in $gdm"
  told="Wayland is off in $gdm"
  if [[ $(ini_value "$host$gdm" daemon WaylandEnable) != false ]]; then
    told="Wayland is not off in $gdm: DCV needs X11" && return 1
  fi
}

make_wayland() { ini_with "$host$gdm" daemon WaylandEnable false | put 644 "$gdm"; }

# systemctl's answer to a question, without what it says when it cannot ask.
is_unit() { systemctl "is-$1" --quiet "$2" 2>/dev/null; }

have_target() {
  mend="sudo systemctl set-default graphical.target"
  told="the system starts into the desktop"
  if [[ $(systemctl get-default 2>/dev/null) != graphical.target ]]; then
    told="the system does not start into the desktop" && return 1
  fi
}

make_target() { run systemctl set-default graphical.target; }

# --- Amazon DCV

have_dcv() {
  local name missing=()
  for name in nice-dcv-server nice-dcv-web-viewer nice-xdcv; do
    installed "$name" || missing+=("$name")
  done
  mend="install ${missing[*]} from $dcv_site, as the DCV administrator guide tells"
  told="Amazon DCV $(package_version nice-dcv-server || true), with virtual sessions and the web client"
  if ((${#missing[@]})); then
    told="Amazon DCV is not whole: ${missing[*]} missing" && return 1
  fi
}

# The archive of packages: on Ubuntu its sum is checked (AWS ParallelCluster's cookbook pins the same), for apt does not look at
# the signature of a file; dnf does, when it is told to.
make_dcv() {
  local name=nice-dcv-$dcv_version-$dcv_build-$dcv_system-x86_64 folder tail
  fetch "$dcv_site/$dcv_version/Servers/$name.tgz" "$name.tgz"
  if [[ $packages == deb ]]; then
    grep -F -- "  $name.tgz" "$neuron_dir/dcv.sha256" >"$scratch/sum" || die "no sum is known of $name.tgz."
    (cd -- "$scratch" && run sha256sum --check --strict sum) ||
      die "$name.tgz is not what it should be: its sum differs. Nothing of it was installed."
  else
    fetch "$dcv_site/NICE-GPG-KEY" NICE-GPG-KEY
    run rpm --import "$scratch/NICE-GPG-KEY"
  fi
  run tar --extract --gzip --file "$scratch/$name.tgz" --directory "$scratch" --no-same-owner
  folder=$scratch/$name
  if [[ $packages == deb ]]; then
    chmod 755 "$scratch" # apt reads files as a user of its own
    tail=-1_amd64.$dcv_system.deb
    install_packages "$folder/nice-dcv-server_$dcv_version.$dcv_build$tail" \
      "$folder/nice-dcv-web-viewer_$dcv_version.$dcv_build$tail" "$folder/nice-xdcv_$dcv_version.$xdcv_build$tail"
  else
    tail=-1.$dcv_system.x86_64.rpm
    install_packages --setopt=localpkg_gpgcheck=1 "$folder/nice-dcv-server-$dcv_version.$dcv_build$tail" \
      "$folder/nice-dcv-web-viewer-$dcv_version.$dcv_build$tail" "$folder/nice-xdcv-$dcv_version.$xdcv_build$tail"
  fi
}

have_nogl() {
  mend="remove nice-dcv-gl"
  told="nice-dcv-gl is not installed (without a GPU it makes the screen black)"
  if installed nice-dcv-gl; then
    told="nice-dcv-gl is installed: without a GPU it makes the screen black" && return 1
  fi
}

make_nogl() { if [[ $packages == deb ]]; then run apt-get remove -y nice-dcv-gl; else run dnf remove -y nice-dcv-gl; fi; }

have_dcvgroup() {
  mend="sudo usermod -aG video dcv"
  told="the user dcv is in the group video"
  if [[ " $(id -nG dcv 2>/dev/null || true) " != *" video "* ]]; then
    told="the user dcv is not in the group video" && return 1
  fi
}

make_dcvgroup() { run usermod -aG video dcv; }

have_quic() {
  mend="put enable-quic-frontend=true below [connectivity] in /etc/dcv/dcv.conf"
  told="DCV takes UDP (QUIC) too"
  if [[ $(ini_value "$host/etc/dcv/dcv.conf" connectivity enable-quic-frontend) != true ]]; then
    told="DCV does not take UDP (QUIC)" && return 1
  fi
}

make_quic() {
  ini_with "$host/etc/dcv/dcv.conf" connectivity enable-quic-frontend true | put 644 /etc/dcv/dcv.conf
  if is_unit active dcvserver; then run systemctl restart dcvserver; fi
}

have_dcvserver() {
  mend="sudo systemctl enable --now dcvserver"
  told="dcvserver runs, and will at boot"
  if ! is_unit enabled dcvserver || ! is_unit active dcvserver; then
    told="dcvserver does not run, or will not at boot" && return 1
  fi
}

make_dcvserver() { run systemctl enable --now dcvserver; }

have_password() {
  mend="sudo passwd $user (DCV asks for it)"
  told="$user has a password"
  if (($(id -u) != 0)); then
    told="only root can see whether $user has a password"
  elif [[ $(passwd --status "$user" 2>/dev/null | awk '{ print $2 }') != P* ]]; then
    told="$user has no password, and DCV asks for one" && return 1
  fi
}

if [[ -n ${CHATAPP_PASSWORD_HASH:-} ]]; then
  make_password() {
    # shellcheck disable=SC2016
    [[ $CHATAPP_PASSWORD_HASH == '$'[0-9a-z]*'$'* ]] || die 'CHATAPP_PASSWORD_HASH is no hash: make one with `openssl passwd -6`.'
    if [[ $mode == dry ]]; then
      echo "would set the password of $user"
    else
      printf '%s:%s\n' "$user" "$CHATAPP_PASSWORD_HASH" | chpasswd --encrypted
    fi
  }
fi

# --- the session at boot

unit_text() {
  cat <<UNIT
[Unit]
Description=Virtual DCV session for chatapp
After=dcvserver.service
Requires=dcvserver.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStartPre=/bin/sh -c 'for try in 1 2 3 4 5 6 7 8 9 10; do dcv list-sessions && exit 0; sleep 2; done; exit 1'
ExecStart=/bin/sh -c 'dcv describe-session $session >/dev/null 2>&1 || dcv create-session --type virtual --owner $user --user $user $session'
ExecStop=/usr/bin/dcv close-session $session

[Install]
WantedBy=multi-user.target
UNIT
}

have_session() {
  local unit=chatapp-session.service
  mend="sudo systemctl enable --now $unit"
  told="a virtual session of $user begins at boot, and is there"
  if [[ $(cat "$host/etc/systemd/system/$unit" 2>/dev/null) != "$(unit_text)" ]] || ! is_unit enabled "$unit" ||
    ! is_unit active "$unit"; then
    told="no virtual session of $user begins at boot" && return 1
  fi
}

make_session() {
  unit_text | put 644 /etc/systemd/system/chatapp-session.service
  run systemctl daemon-reload
  run systemctl enable chatapp-session.service
  run systemctl restart chatapp-session.service
}
