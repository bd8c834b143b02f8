# shellcheck shell=bash
# Sets up what `packaging/run` and `packaging/test` need; they source this file.
#
# The story: if the stamp in .venv fits, nothing is done. Else: find a Python, see that Qt's system libraries are there,
# make .venv, install torch (the CPU build unless there is an NVIDIA device), install the application, write the stamp.
# What was begun and not finished is thrown away and begun again.
#
# CHATAPP_PYTHON  the Python to use, instead of looking for one
# CHATAPP_TORCH   what to install as torch, instead of choosing: a requirement such as torch==2.13.0

packaging_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname -- "$packaging_dir")
venv=$root/.venv
stamp=$venv/chatapp.stamp
unfinished=$root/.venv.unfinished
torch_version=2.13.0

# Qt's libraries as the loader knows them, and Debian's and Ubuntu's names of their packages.
libraries="
libEGL.so.1             libegl1
libGL.so.1              libgl1
libX11-xcb.so.1         libx11-xcb1
libdbus-1.so.3          libdbus-1-3
libfontconfig.so.1      libfontconfig1
libxkbcommon.so.0       libxkbcommon0
libxkbcommon-x11.so.0   libxkbcommon-x11-0
libxcb-cursor.so.0      libxcb-cursor0
libxcb-icccm.so.4       libxcb-icccm4
libxcb-image.so.0       libxcb-image0
libxcb-keysyms.so.1     libxcb-keysyms1
libxcb-randr.so.0       libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0       libxcb-shape0
libxcb-xinerama.so.0    libxcb-xinerama0
libxcb-xkb.so.1         libxcb-xkb1
"

say() { printf 'chatapp: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# The fingerprint of everything that an installation depends on; $1 is `app` or `dev`.
fingerprint() {
  local sums
  sums=$(cd -- "$root" && sha256sum pyproject.toml packaging/constraints.txt packaging/setup.sh)
  printf '%s\n%s\n%s\n%s\n' "$1" "$root" "$(readlink -f -- "$venv/bin/python")" "$sums"
}

# True when .venv holds what $1 (`app` or `dev`) needs; `dev` holds all of `app`.
is_installed() {
  local found
  [[ -f $stamp && -x $venv/bin/python && ! -e $unfinished ]] || return 1
  found=$(<"$stamp")
  [[ $found == "$(fingerprint dev)" || ($1 == app && $found == "$(fingerprint app)") ]]
}

has_nvidia() { compgen -G '/dev/nvidia[0-9]*' >/dev/null || compgen -G '/proc/driver/nvidia/gpus/*' >/dev/null; }

# Pythons of a version that works and has venv, the newest first.
usable_pythons() {
  local name path
  for name in ${CHATAPP_PYTHON:+"$CHATAPP_PYTHON"} python3.13 python3.12 python3.11 python3.10 python3; do
    path=$(command -v -- "$name") || continue
    "$path" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null || continue
    printf '%s\n' "$path"
    [[ $name != "${CHATAPP_PYTHON:-}" ]] || return 0
  done
}

# True when pip, as it is configured here, knows a CPU build of torch for Python $1.
offers_cpu_torch() {
  local scratch status=0
  scratch=$(mktemp -d)
  # A target folder keeps pip away from the system's own packages, which many Pythons forbid to touch.
  "$1" -m pip install --quiet --dry-run --no-deps --only-binary :all: --target "$scratch" \
    "torch==$torch_version+cpu" >/dev/null 2>&1 || status=1
  rm -rf -- "$scratch"
  return "$status"
}

choose_python() {
  local pythons path
  mapfile -t pythons < <(usable_pythons)
  ((${#pythons[@]})) || return 1
  if ((${#pythons[@]} > 1)) && [[ -z ${CHATAPP_TORCH:-} ]] && ! has_nvidia; then
    for path in "${pythons[@]}"; do
      if offers_cpu_torch "$path"; then
        printf '%s\n' "$path"
        return 0
      fi
    done
  fi
  printf '%s\n' "${pythons[0]}"
}

has_font() {
  local folder
  for folder in /usr/share/fonts /usr/local/share/fonts "${HOME:-/nonexistent}/.fonts" \
    "${HOME:-/nonexistent}/.local/share/fonts"; do
    [[ -n $(find -L "$folder" \( -name '*.ttf' -o -name '*.otf' -o -name '*.ttc' \) -print -quit 2>/dev/null) ]] &&
      return 0
  done
  return 1
}

# The packages that are missing, one a line.
missing_packages() {
  local known library package
  known=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null || true)
  while read -r library package; do
    [[ -z $library || $known == *"$library "* ]] || printf '%s\n' "$package"
  done <<<"$libraries"
  has_font || printf 'fonts-dejavu-core\n'
  [[ -n $(usable_pythons) ]] || printf 'python3\npython3-venv\n'
}

# Installs system packages that are missing; asks for rights only then.
ensure_system_packages() {
  local missing right=()
  [[ $(uname -s) == Linux ]] || return 0
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null ||
    die "these system libraries are missing, and there is no apt-get to install them with: ${missing[*]}" \
      "(Debian's names; install your system's packages of these libraries and start again)"
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "these system packages are missing: ${missing[*]}. Ask an administrator to run:" \
        "apt-get install ${missing[*]}"
    right=(sudo)
  fi
  say "installing system packages that Qt needs${right:+ (sudo may ask for your password)}: ${missing[*]}"
  "${right[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >&2 || {
    "${right[@]}" apt-get update >&2
    "${right[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >&2
  } || die "apt-get could not install: ${missing[*]}"
}

pip_install() {
  "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar "$([[ -t 2 ]] && echo on || echo off)" \
    --constraint "$packaging_dir/constraints.txt" "$@" >&2
}

# torch first and alone: left to itself, pip brings the CUDA build and its gigabytes on Linux.
install_torch() {
  if [[ -n ${CHATAPP_TORCH:-} ]]; then
    pip_install "$CHATAPP_TORCH"
  elif [[ $(uname -s) != Linux ]] || has_nvidia; then
    pip_install "torch==$torch_version"
  elif "$venv/bin/python" -c "import importlib.metadata as m, sys; sys.exit(m.version('torch') != '$torch_version+cpu')" \
    2>/dev/null; then
    return 0
  elif offers_cpu_torch "$venv/bin/python"; then
    pip_install "torch==$torch_version+cpu"
  else
    say "pip's own sources have no CPU build of torch for this Python; taking PyTorch's"
    pip_install --index-url https://download.pytorch.org/whl/cpu "torch==$torch_version+cpu" ||
      die "no CPU build of torch $torch_version could be had. With a network, start again; to take another build, set" \
        "CHATAPP_TORCH, for example: CHATAPP_TORCH=torch==$torch_version bash packaging/run"
  fi
}

install_all() {
  local python extra=""
  ensure_system_packages
  if [[ -e $unfinished ]]; then
    say "the last installation was not finished; beginning again"
    rm -rf -- "$venv"
  fi
  : >"$unfinished"
  rm -f -- "$stamp"
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf -- "$venv"
    python=$(choose_python) || die "no Python 3.10 to 3.13 with the venv module was found." \
      "On Debian and Ubuntu: apt-get install python3-venv"
    say "making .venv with $("$python" --version) ($python)"
    "$python" -m venv "$venv"
    # Ubuntu 22.04's pip is too old for --dry-run.
    pip_install --quiet --upgrade "pip>=23"
  fi
  install_torch
  [[ $1 == app ]] || extra="[dev]"
  pip_install --editable "$root$extra" || die "the installation failed; what pip says stands above. Start again to retry."
  # Some seconds of compiling, which the first start would spend otherwise; what is wrong, if something is, that one tells.
  "$venv/bin/python" -m chatapp.engine.backends.decoder.kernels >/dev/null 2>&1 || true
  fingerprint "$1" >"$stamp.new"
  mv -- "$stamp.new" "$stamp"
  rm -f -- "$unfinished"
}

# Brings .venv into the state that $1 (`app` or `dev`) needs. One at a time: two first starts must not mix.
ensure_installed() {
  is_installed "$1" && return 0
  (
    if command -v flock >/dev/null; then
      flock --nonblock 9 || {
        say "another installation is running; waiting for it"
        flock 9
      }
    fi
    is_installed "$1" || install_all "$1"
  ) 9>"$root/.venv.lock"
}
