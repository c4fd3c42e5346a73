#!/usr/bin/env bash
# Fetches the music and speech that Refrain is trained and measured on.
#
#   models/train/fetch_music.sh [package ...]      (default: every package below)
#
# Debian's game packages carry about 24 hours of freely licensed, produced music and 1.5 hours of
# acted speech. Each is unpacked, never installed, into $REFRAIN_CACHE/music/<package>/ (default
# ~/.cache/refrain), with its licence in usr/share/doc/<package>/copyright. A package that is already
# there is skipped, so the script resumes. Needs apt-get and dpkg; run `apt-get update` before it.
set -euo pipefail

# The bench's packages come first: others wait for them.
PACKAGES=(
  wesnoth-1.16-music ufoai-music hedgewars-data fretsonfire-songs-muldjord unknown-horizons
  supertuxkart-data warzone2100-music naev-data supertux-data berusky2-data freedroidrpg-data
  megaglest-data redeclipse-data fillets-ng-data fillets-ng-data-nl enigma-data btanks-data asc-music
  openarena-088-data freeorion-data lincity-ng-data amoebax-data extremetuxracer-data
  scorched3d-data lugaru-data tumiki-fighters-data torus-trooper-data cube2-data endless-sky-data
  asterisk-core-sounds-en-g722 asterisk-core-sounds-fr-g722 asterisk-core-sounds-es-g722
  asterisk-core-sounds-it-g722 asterisk-core-sounds-ru-g722 ktuberling-data
)
[ $# -gt 0 ] && PACKAGES=("$@")

cache="${REFRAIN_CACHE:-$HOME/.cache/refrain}"
mkdir -p "$cache/music"
missing=()
for package in "${PACKAGES[@]}"; do
  target="$cache/music/$package"
  [ -d "$target" ] && continue
  download="$(mktemp -d "$cache/download.XXXXXX")"
  chmod 755 "$download"
  if (cd "$download" && apt-get download -qq "$package" 2>/dev/null && dpkg -x "$package"_*.deb unpacked); then
    # Some games keep their music in zip archives by another name.
    find "$download/unpacked" -type f \( -name '*.pk3' -o -name '*.zip' -o -name '*.scs' \) \
      -exec sh -c 'python3 -m zipfile -e "$1" "${1%.*}" && rm "$1"' _ {} \;
    # Only sound and licences are kept; the rename makes a half-unpacked package impossible.
    find "$download/unpacked" -type f \
      ! -regex '.*\.\(ogg\|opus\|mp3\|flac\|wav\|oga\|m4a\|mod\|s3m\|xm\|it\|g722\)' ! -path '*/share/doc/*' -delete
    find "$download/unpacked" -type d -empty -delete
    mv "$download/unpacked" "$target"
    echo "$package: $(find "$target" -type f ! -path '*/share/doc/*' | wc -l) sound files"
  else
    missing+=("$package")
  fi
  rm -rf "$download"
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "not fetched: ${missing[*]}" >&2
  exit 1
fi
