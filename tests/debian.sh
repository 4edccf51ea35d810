# Debian's packages of newer suites, unpacked into a folder without changes to the machine. Sourced by the scripts that need
# programs which the machine does not have, or has in another version; the current folder is the project's.
apt=$PWD/target/debian

# private_apt: sets up a separate apt configuration with those suites, on the mirror of this machine.
private_apt() {
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
		/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)
	[ -r "$keyring" ] && [ -n "$mirror" ] || return 1
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/packages"
	for suite in bookworm trixie sid; do
		echo "deb [signed-by=$keyring] $mirror $suite main"
	done >"$apt/sources.list"
	cat >"$apt/apt.conf" <<-END
		Dir::State::lists "$apt/lists";
		Dir::Cache "$apt/cache";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "-";
		APT::Sandbox::User "";
	END
	APT_CONFIG=$apt/apt.conf
	export APT_CONFIG
	# Once per run, and only if a tool is missing. Older lists may name packages that no longer exist.
	[ -n "${updated:-}" ] || apt-get update -q >"$apt/log" 2>&1 || { cat "$apt/log" >&2; return 1; }
	updated=yes
}

# unpack FOLDER PACKAGE...: unpacks the first of the packages that can be downloaded, after private_apt. A package is written
# as for apt-get: NAME=VERSION or NAME/SUITE. A subshell, so that its variables are its own.
unpack() (
	folder=$1
	shift
	for package in "$@"; do
		name=${package%%[=/]*}
		rm -f "$apt/packages/$name"_*
		if (cd "$apt/packages" && apt-get download -q "$package") >>"$apt/log" 2>&1; then
			dpkg-deb -x "$apt/packages/$name"_*.deb "$folder"
			return
		fi
	done
	cat "$apt/log" >&2
	return 1
)
