# Sourced by `emp` and `emp-dev`, which set `root` to the repository's folder. POSIX sh.
#
# Puts Node 24 on PATH and the locked packages into node_modules, installing what is missing:
# Node and pnpm from the hash lock in pinned/, with npm; the packages from pnpm-lock.yaml.
# A copy of the lock file, written last, is the mark of a finished install: a killed or outdated
# one does not have it and is done again. All output goes to stderr, because stdout belongs to
# the command. docs/toolchain.md tells the reasons.

tools=${EMP_TOOLCHAIN:-$root/.toolchain}
case $tools in /*) ;; *) tools=$PWD/$tools ;; esac
tools_lock=$root/runtime/toolchain/pinned/package-lock.json
tools_mark=$tools/installed-lock.json
packages_lock=$root/pnpm-lock.yaml
packages_mark=$root/node_modules/.emp-installed-lock.yaml

say() { printf 'emp: %s\n' "$1" >&2; }

tools_are_installed() { cmp -s "$tools_lock" "$tools_mark"; }

packages_are_installed() { cmp -s "$packages_lock" "$packages_mark"; }

# Locked binaries come first on PATH: what runs here is then the same on every machine.
use_tools() {
  for dir in "$tools"/node_modules/@pnpm/exe.* "$tools"/node_modules/node-*/bin; do
    if [ -d "$dir" ]; then PATH=$dir:$PATH; fi
  done
}

# True where the program `$1` has at least major version `$2`.
is_major() {
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#v}
  [ "${version%%.*}" -ge "$2" ] 2>/dev/null
}

# Runs an installer, its output kept for the case that it fails. It gets a HOME that it can write to
# and no terminal to ask questions on.
quietly() {
  home=${HOME-}
  if [ ! -d "$home" ] || [ ! -w "$home" ]; then
    home=$tools/home
    mkdir -p "$home"
  fi
  if ! HOME=$home CI=true "$@" </dev/null >"$tools/install.log" 2>&1; then
    cat "$tools/install.log" >&2
    say "$1 failed, see above. Run this again; what was installed so far is not used."
    exit 1
  fi
}

# One installer at a time. The kernel drops the lock when its holder and the installer under it
# have ended, however they ended: no stale lock, and no second writer beside an orphaned one.
# Systems without flock (macOS) go without; they use their own Node and pnpm.
lock_installs() {
  mkdir -p "$tools"
  exec 9>"$tools/install.lock"
  if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
    say 'waiting for another run that installs'
    flock 9
  fi
}

unlock_installs() { exec 9>&-; }

is_locked_platform() {
  case $(uname -sm) in 'Linux x86_64' | 'Linux aarch64') getconf GNU_LIBC_VERSION >/dev/null 2>&1 ;; *) return 1 ;; esac
}

install_tools() {
  say "installing Node 24 and pnpm 12 into $tools (once, about 10 s)"
  if ! command -v npm >/dev/null 2>&1; then
    say 'npm is not on PATH. Install Node 20 or newer with npm, or Node >= 24 and pnpm 12.'
    exit 1
  fi
  rm -f "$tools_mark"
  cp "$root/runtime/toolchain/pinned/package.json" "$tools_lock" "$tools/"
  quietly npm ci --prefix "$tools" --ignore-scripts --no-audit --no-fund --loglevel=error
  use_tools
  if ! is_major node 24 || ! is_major pnpm 12; then
    # npm skips an optional package that it cannot fetch, and one for another platform, in silence.
    if is_locked_platform; then
      say 'npm could not fetch Node 24 and pnpm 12. Is the npm registry reachable? Run this again, or put both on PATH.'
    else
      say "no Node 24 and pnpm 12 are packaged for $(uname -sm) with this C library. Node >= 24 and pnpm 12 on PATH are needed: install them and run this again."
    fi
    exit 1
  fi
  cp "$tools_lock" "$tools_mark.new"
  mv "$tools_mark.new" "$tools_mark"
}

install_packages() {
  say 'installing packages (pnpm install --frozen-lockfile)'
  rm -f "$packages_mark"
  (cd "$root" && quietly pnpm install --frozen-lockfile --reporter=append-only)
  cp "$packages_lock" "$packages_mark.new"
  mv "$packages_mark.new" "$packages_mark"
}

# Everything that may have to wait or write; looked at again under the lock.
install_missing() {
  lock_installs
  if tools_are_installed; then
    use_tools
  elif ! is_major node 24 || { ! packages_are_installed && ! is_major pnpm 12; }; then
    install_tools
  fi
  packages_are_installed || install_packages
  unlock_installs
}

if tools_are_installed && packages_are_installed; then
  use_tools
elif ! packages_are_installed || ! is_major node 24; then
  install_missing
fi
export PATH

# V8's compiled code and the stripped TypeScript, kept between starts.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE-$root/node_modules/.cache/compile}"
