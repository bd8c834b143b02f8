# shellcheck shell=bash
# What packaging/neuron/setup-host looks at and sets up: Python, the Neuron library, the application. The rules are those of
# host-items.sh.

# Variables of setup-host, host-items.sh and packaging/setup.sh, and those that are set here for them:
# shellcheck disable=SC2154,SC2034
image_environment=/opt/aws_neuronx_venv_pytorch_2_7_transformers # the last image that has it: SDK 2.25
own_environment=/opt/chatapp-neuron
pip_index=https://pip.repos.neuron.amazonaws.com
cpu_torch=https://download.pytorch.org/whl/cpu

# The library's package and the first version that will do, its constraints, what pip calls the extra, and system packages.
choose_environment() {
  local of_image=no
  # It stands in the launcher, which is started from anywhere.
  [[ -z $environment || $environment == /* ]] || die "--venv needs a path from / on, not: $environment"
  [[ $environment != *[\"\`\$\\]* ]] || die "--venv needs a path without quotes and dollars, not: $environment"
  if [[ -n $environment && -x $host$environment/bin/python && $environment != "$image_environment" ]] &&
    [[ ! -e $host$environment/pyvenv.cfg && ! -d $host$environment/conda-meta ]]; then
    die "$environment has a Python that is no environment of its own; --venv names one, or a folder where it is to be made."
  fi
  if [[ -z $environment && $library == tnx && -x $host$image_environment/bin/python ]]; then
    environment=$image_environment
  fi
  environment=${environment:-$own_environment}
  [[ $environment != "$image_environment" ]] || of_image=yes
  if [[ $library == tnx ]]; then
    wheel=transformers-neuronx wheel_floor=0.13.1216 extra=neuron constraints=$neuron_dir/constraints.txt pythons="3.11 3.10"
    driver_set="aws-neuronx-dkms=2.24.7.0 aws-neuronx-runtime-lib=2.28.23.0 aws-neuronx-collectives=2.28.27.0 aws-neuronx-tools=2.26.14.0"
    if [[ $of_image == yes ]]; then # SDK 2.25's
      driver_set="aws-neuronx-dkms=2.23.9.0 aws-neuronx-runtime-lib=2.27.23.0 aws-neuronx-collectives=2.27.34.0 aws-neuronx-tools=2.25.145.0"
    fi
  else
    wheel=neuronx-distributed-inference wheel_floor=0.10 extra=neuron-nxdi constraints=$neuron_dir/constraints-nxdi.txt pythons="3.12 3.13 3.11"
    driver_set="aws-neuronx-dkms=2.29.0.0 aws-neuronx-runtime-lib=2.33.10.0 aws-neuronx-collectives=2.33.10.0 aws-neuronx-tools=2.31.13.0"
  fi
}

environment_python() { printf '%s\n' "$host$environment/bin/python"; }

# The version of a package in the environment, without what stands behind a plus.
wheel_version() {
  local found
  found=$("$(environment_python)" -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' "$1" 2>/dev/null) ||
    return 1
  printf '%s\n' "${found%%+*}"
}

has_library() {
  local found
  found=$(wheel_version "$wheel") && at_least "$found" "$wheel_floor"
}

# A Python that there are wheels for.
find_python() {
  local number
  for number in $pythons; do
    if command -v "python$number" >/dev/null && "python$number" -c 'import venv, ensurepip' 2>/dev/null; then
      printf 'python%s\n' "$number"
      return 0
    fi
  done
  return 1
}

# The packages that bring one, nothing where the system has none.
python_packages() {
  case $dcv_system-$library in
    ubuntu2204-tnx) echo "python3.10 python3.10-venv" ;;
    ubuntu2404-nxdi) echo "python3.12 python3.12-venv" ;;
    amzn2023-*) echo "python3.11 python3.11-pip" ;;
  esac
}

have_python() {
  local found
  mend="use Ubuntu 22.04 or Amazon Linux 2023 for transformers-neuronx, Ubuntu 24.04 or Amazon Linux 2023 for --library nxdi, or install one of: python ${pythons// /, python }"
  if [[ -x $(environment_python) ]]; then
    told="$("$(environment_python)" --version 2>&1) in $environment"
  elif found=$(find_python); then
    told="$found"
  else
    told="no Python that the wheels of $wheel are made for (${pythons// /, }), or it has no venv"
    return 1
  fi
}

make_python() {
  local wanted
  read -r -a wanted <<<"$(python_packages)"
  ((${#wanted[@]})) || die "$told. $mend"
  install_packages "${wanted[@]}"
}

have_venv() {
  mend="install the versions of $constraints from $pip_index"
  if has_library; then
    told="$wheel $(wheel_version "$wheel") in $environment"
  elif [[ -x $(environment_python) ]]; then
    told="$wheel from $wheel_floor on is not in $environment" && return 1
  else
    told="there is no Python environment $environment" && return 1
  fi
}

pip_install() { run "$(environment_python)" -m pip install --disable-pip-version-check --progress-bar off "$@"; }

# torch first, the CPU build: the ordinary one brings gigabytes of CUDA.
make_venv() {
  local torch
  [[ $environment != "$image_environment" ]] ||
    die "$image_environment is there and lacks $wheel; leave it as it is and start again with --venv $own_environment."
  [[ -x $(environment_python) ]] || run "$(find_python || echo python3)" -m venv "$host$environment"
  torch=$(grep '^torch==' "$constraints")
  pip_install --upgrade "pip>=23"
  pip_install --index-url "$cpu_torch" "$torch+cpu"
  pip_install --extra-index-url "$pip_index" --constraint "$constraints" --editable "${root}[$extra]"
}

have_app() {
  local place
  mend="$environment/bin/python -m pip install --constraint … --editable $root"
  place=$(cd / && "$(environment_python)" -c 'import chatapp; print(chatapp.__file__)' 2>/dev/null) || place=nowhere
  told="chatapp runs from $root"
  if [[ $place != "$root"/* ]]; then
    told="chatapp of this clone is not in $environment (found: $place)" && return 1
  fi
}

# What the environment has stays: AWS's set is one that works.
make_app() {
  [[ -x $(environment_python) ]] || return 0 # a dry run: `make_venv` would have installed it
  [[ $mode == dry ]] || "$(environment_python)" -m pip freeze --exclude-editable >"$scratch/frozen"
  if ! pip_install --constraint "$scratch/frozen" --editable "$root"; then
    die "what chatapp needs does not fit into $environment; see pip's words above. Start again with --venv $own_environment."
  fi
}

# Compute threads: on a small host the desktop, DCV's encoder and the runtime need cores too.
launcher_text() {
  local threads=$(($(nproc) / 2))
  ((threads >= 1)) || threads=1
  ((threads <= 8)) || threads=8
  cat <<LAUNCHER
#!/bin/sh
# Starts chatapp on this Neuron host; written by packaging/neuron/setup-host.
export PATH="$environment/bin:/opt/aws/neuron/bin:\$PATH" PYTHONSAFEPATH=1
export OMP_NUM_THREADS="\${OMP_NUM_THREADS:-$threads}"
exec "$environment/bin/python" -m chatapp "\$@"
LAUNCHER
}

have_launcher() {
  mend="sudo bash packaging/neuron/setup-host"
  told="/usr/local/bin/chatapp starts it, compute threads capped"
  if [[ $(cat "$host/usr/local/bin/chatapp" 2>/dev/null) != "$(launcher_text)" ]]; then
    told="/usr/local/bin/chatapp is missing or of another set-up" && return 1
  fi
}

make_launcher() { launcher_text | put 755 /usr/local/bin/chatapp; }

entry_text() {
  cat <<ENTRY
[Desktop Entry]
Type=Application
Name=chatapp
Comment=Chat with a speculative-decoding engine that shows who made each token
Exec=/usr/local/bin/chatapp
Icon=chatapp
Categories=Development;
Terminal=false
ENTRY
}

have_entry() {
  local icon=$host/usr/share/icons/hicolor/scalable/apps/chatapp.svg
  mend="sudo bash packaging/neuron/setup-host"
  told="the desktop has an entry and an icon"
  if [[ $(cat "$host/usr/share/applications/chatapp.desktop" 2>/dev/null) != "$(entry_text)" ]] ||
    ! cmp --silent "$icon" "$root/resources/icons/chatapp.svg"; then
    told="the desktop has no entry or no icon" && return 1
  fi
}

make_entry() {
  put 644 /usr/share/icons/hicolor/scalable/apps/chatapp.svg <"$root/resources/icons/chatapp.svg"
  entry_text | put 644 /usr/share/applications/chatapp.desktop
}
