#!/usr/bin/env bash
# Stands for the commands of a system, under whose names links lead here. What it knows lies in files below $FAKE; whatever
# changes the system is noted in $FAKE/calls. Used by test_neuron_host.py.
set -euo pipefail
name=${0##*/}

note() {
  printf '%s\n' "$name $*" >>"$FAKE/calls"
}

add_package() { # name version
  printf '%s\n' "$2" >"$FAKE/packages/$1"
  if [[ $1 == nice-dcv-server ]]; then echo dcv >"$FAKE/dcv-groups"; fi
}

add() {
  local one base
  for one in "$@"; do
    case $one in
      -* | DPkg::*) ;;
      *.deb | *.rpm)
        [[ -f $one ]] || exit 100
        base=${one##*/}
        base=${base%-1[._]*}
        if [[ $base == *_* ]]; then add_package "${base%_*}" "${base##*_}"; else add_package "${base%-*}" "${base##*-}"; fi
        ;;
      aws-neuronx-*=* | aws-neuronx-*-[0-9]*)
        base=${one%\*}
        if [[ $base == *=* ]]; then add_package "${base%=*}" "${base#*=}"; else add_package "${base%-*}" "${base##*-}"; fi
        ;;
      ubuntu-desktop-minimal | Desktop) add_package gnome-shell 42 ;;
      *'()(64bit)') add_package "${one%%()*}" 1 ;;
      *) add_package "$one" 1 ;;
    esac
  done
}

python_in() { # a path of the environment: its folder of packages
  printf '%s/wheels%s\n' "$FAKE" "$(dirname -- "$(dirname -- "${1#"$CHATAPP_HOST_ROOT"}")")"
}

pip() {
  local folder constraints="" word previous="" one
  folder=$(python_in "$0")
  mkdir -p "$folder"
  if [[ $1 == freeze ]]; then
    for one in "$folder"/*; do printf '%s==%s\n' "${one##*/}" "$(<"$one")"; done
    return
  fi
  note "$@"
  for word in "$@"; do
    [[ $previous != --constraint ]] || constraints=$word
    if [[ $previous == --editable ]]; then
      printf '%s\n' "${word%%\[*}" >"$folder/chatapp"
      [[ $word == *"["* ]] && sed -n 's/^\([a-z].*\)==\([0-9.]*\).*/\1 \2/p' "$constraints" | while read -r one version; do
        printf '%s+abc\n' "$version" >"$folder/$one"
      done
    fi
    previous=$word
  done
}

case $name in
  id)
    case $* in
      -u) cat "$FAKE/uid" ;;
      "-u "*) grep -qx "$2" "$FAKE/users" ;;
      "-nG dcv") cat "$FAKE/dcv-groups" ;;
    esac
    ;;
  uname) case $1 in -s) echo Linux ;; -m) cat "$FAKE/machine" ;; -r) echo 6.8.0-aws ;; esac ;;
  nproc) cat "$FAKE/nproc" ;;
  ldconfig)
    while read -r library package; do
      [[ -e $FAKE/packages/$library || -e $FAKE/packages/$package ]] && printf '\t%s (libc6,x86-64) => /lib/%s\n' "$library" "$library"
    done <"$FAKE/libraries" || true
    ;;
  dpkg-query)
    [[ -e $FAKE/packages/${*: -1} ]] || exit 1
    printf 'installed %s' "$(<"$FAKE/packages/${*: -1}")"
    ;;
  rpm)
    if [[ $1 == --query ]]; then
      [[ -e $FAKE/packages/${*: -1} ]] || exit 1
      cat "$FAKE/packages/${*: -1}"
    else
      note "$@"
    fi
    ;;
  apt-get | dnf)
    note "$@"
    for word in "$@"; do
      shift
      case $word in
        install | groupinstall) add "$@" && break ;;
        remove) for one in "$@"; do rm -f -- "$FAKE/packages/$one"; done && break ;;
        update) break ;;
      esac
    done
    ;;
  systemctl)
    case $1 in
      get-default) cat "$FAKE/target" ;;
      is-enabled | is-active) [[ -e $FAKE/$1/${*: -1} ]] ;;
      *)
        note "$@"
        case $1 in
          set-default) echo "$2" >"$FAKE/target" ;;
          enable)
            touch "$FAKE/is-enabled/${*: -1}"
            if [[ $2 == --now ]]; then touch "$FAKE/is-active/${*: -1}"; fi
            ;;
          restart) touch "$FAKE/is-active/$2" ;;
        esac
        ;;
    esac
    ;;
  usermod)
    note "$@"
    echo "dcv video" >"$FAKE/dcv-groups"
    ;;
  passwd) printf '%s %s 2026-01-01\n' "${*: -1}" "$(<"$FAKE/password")" ;;
  chpasswd)
    note "$@"
    cat >"$FAKE/hash"
    echo P >"$FAKE/password"
    ;;
  modprobe)
    note "$@"
    [[ -e $FAKE/chip ]] || exit 1
    touch "$CHATAPP_HOST_ROOT/dev/neuron0"
    ;;
  curl)
    note "${*: -1}"
    while [[ $1 != --output ]]; do shift; done
    cp -- "$FAKE/web/${3##*/}" "$2" 2>/dev/null || exit 22
    ;;
  gpg)
    if [[ $* == *--show-keys* ]]; then
      printf 'pub:-:2048:1:5749CAD8646D9185:::::::\nfpr:::::::::%s:\n' "$(<"${*: -1}")"
    else
      while [[ $1 != --output ]]; do shift; done
      cp -- "$3" "$2"
    fi
    ;;
  python | python3*)
    case $* in
      "-c import venv"*) [[ -e $FAKE/packages/$name-venv || -e $FAKE/packages/$name-pip ]] ;;
      "-m venv "*)
        note "$@"
        mkdir -p "$3/bin"
        ln -s "$FAKE/stub.sh" "$3/bin/python"
        : >"$3/pyvenv.cfg"
        ;;
      --version) echo "Python 3" ;;
      "-c import importlib.metadata"*) cat "$(python_in "$0")/$3" 2>/dev/null ;;
      "-c import chatapp"*) printf '%s/chatapp/__init__.py\n' "$(cat "$(python_in "$0")/chatapp")" ;;
      "-m pip "*) pip "${@:3}" ;;
    esac
    ;;
  *) exit 127 ;;
esac
