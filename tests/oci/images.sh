#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the images that src/oci/image_test.c opens, good and bad ones, in the folder $1. Only tar, gzip, sha256sum and
# coreutils; with zstd, skopeo and umoci some more. Architecture of the images: $2, of a foreign one: $3.
set -eu
cd "$1"
arch=$2 foreign=$3

sha() { sha256sum "$1" | cut -d' ' -f1; }
size() { stat -c %s "$1"; }
# blob LAYOUT FILE: copy into the layout; prints the digest
blob() {
	mkdir -p "$1/blobs/sha256"
	d=$(sha "$2")
	cp "$2" "$1/blobs/sha256/$d"
	echo "$d"
}
# config ARCH DIFF_ID...
config() {
	a=$1 ids=
	shift
	for d; do ids="$ids${ids:+,}\"sha256:$d\""; done
	cat <<END
{"architecture":"$a","os":"linux","config":{"Env":["PATH=/bin","LANG=C"],"Entrypoint":["/bin/sh","-c"],
"Cmd":["id"],"User":"web:adm","WorkingDir":"/srv","StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{}},
"Volumes":{"/data":{}},"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":[$ids]}}
END
}
# manifest LAYOUT CONFIG_DIGEST TYPE LAYER_DIGEST...
manifest() {
	l=$1 c=$2 t=$3 layers=
	shift 3
	for d; do layers="$layers${layers:+,}{\"mediaType\":\"$t\",\"digest\":\"sha256:$d\",\"size\":$(size "$l/blobs/sha256/$d")}"; done
	cat <<END
{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:$c","size":1},
"layers":[$layers]}
END
}
# layout NAME ARCH TAR...: an OCI layout of gzip'ed layers, tag "one"
layout() {
	name=$1 a=$2 ids="" blobs=""
	shift 2
	mkdir "$name"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$name/oci-layout"
	for t; do
		ids="$ids $(sha "$t")"
		gzip -nc "$t" >layer.gz
		blobs="$blobs $(blob "$name" layer.gz)"
	done
	config "$a" $ids >config.json
	manifest "$name" "$(blob "$name" config.json)" application/vnd.oci.image.layer.v1.tar+gzip $blobs >manifest.json
	m=$(blob "$name" manifest.json)
	cat >"$name/index.json" <<END
{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:$m",
"size":$(size manifest.json),"annotations":{"org.opencontainers.image.ref.name":"one"}}]}
END
}

# Layer 1: a small root. Layer 2: whiteouts, an opaque folder, replacements.
mkdir -p a/etc a/bin a/opaque/sub a/gone/deep a/usr/lib a/srv
echo 'web:x:33:34::/srv:/bin/sh' >a/etc/passwd
echo 'adm:x:4:' >a/etc/group
echo one >a/file
ln a/file a/hard
ln -s usr/lib a/lib
ln -s /etc a/abs
echo old >a/opaque/old
echo old >a/opaque/sub/old
echo x >a/gone/deep/x
echo x >a/gone-file
echo x >a/becomes-dir
mkdir a/becomes-file
echo x >a/becomes-file/x
chmod 4751 a/bin
tar --format=pax --sort=name --mtime=@1000000000 --owner=7 --group=8 -C a -cf a.tar .
mkdir -p b/opaque/sub b/becomes-dir
touch b/opaque/.wh..wh..opq b/.wh.gone b/.wh.gone-file
echo new >b/opaque/new
echo new >b/opaque/sub/new
echo y >b/becomes-file
echo y >b/becomes-dir/y
# In this order the opaque mark comes behind the folder's new content: it must spare that.
tar --format=pax --mtime=@1000000000 --owner=0 --group=0 -C b -cf b.tar \
	opaque/new opaque/sub/new opaque/.wh..wh..opq .wh.gone .wh.gone-file becomes-file becomes-dir
# Files through the links of layer 1.
mkdir -p c/lib c/abs
echo lib >c/lib/so
echo abs >c/abs/new
tar -C c -cf c.tar lib/so abs/new
layout good "$arch" a.tar b.tar c.tar
# A hard link whose target is named through such a link.
mkdir -p h/lib
echo lib >h/lib/so
ln h/lib/so h/lib/so.1
tar -C h -cf hard.tar lib/so lib/so.1
layout hard "$arch" a.tar hard.tar

layout foreign "$foreign" a.tar

# Hostile layers.
echo evil >evil
tar -P --transform 's,^evil,../../evil-out,' -cf dots.tar evil
layout dots "$arch" dots.tar
mkdir s
ln -s "$PWD" s/out
tar -C s -cf link.tar out
tar --transform 's,^evil,out/through,' -cf through.tar evil
layout through "$arch" link.tar through.tar
tar -P --transform 's,^evil,/absolute-evil,' -cf absolute.tar evil
layout absolute "$arch" absolute.tar
touch .wh...
tar -cf nothing.tar .wh...
layout nothing "$arch" nothing.tar

tar --format=pax --pax-option='SCHILY.xattr.user.k:=v,SCHILY.xattr.trusted.overlay.opaque:=y' -cf attributes.tar evil
layout attributes "$arch" attributes.tar

# Without its parent folders, and names of one look and different bytes: NFD and NFC of Unicode, and no UTF-8 at all.
mkdir -p n/no/parent
for name in 'e\314\201' '\303\251' 'x\377'; do
	name=$(printf "$name")
	echo "$name" >"n/no/parent/$name"
	ln -s "$name" "n/no/parent/to-$name"
	ln "n/no/parent/$name" "n/no/parent/like-$name"
done
(cd n && tar --format=pax -cf ../names.tar no/parent/*)
layout names "$arch" names.tar

# A digest that is not the blob's; a truncated gzip whose digest is right; a missing blob; a lying diff_id.
cp -r good digest
for f in digest/blobs/sha256/*; do
	if gzip -t "$f" 2>/dev/null; then
		printf x >>"$f"
		break
	fi
done
cp -r good missing
for f in missing/blobs/sha256/*; do
	if gzip -t "$f" 2>/dev/null; then
		rm "$f"
		break
	fi
done
mkdir truncated
gzip -nc a.tar | head -c 200 >layer.gz
config "$arch" "$(sha a.tar)" >config.json
manifest_with() { # LAYOUT LAYER_FILE TYPE
	d=$(blob "$1" "$2")
	c=$(blob "$1" config.json)
	manifest "$1" "$c" "$3" "$d" >manifest.json
	m=$(blob "$1" manifest.json)
	echo "{\"manifests\":[{\"digest\":\"sha256:$m\"}]}" >"$1/index.json"
}
manifest_with truncated layer.gz application/vnd.oci.image.layer.v1.tar+gzip
config "$arch" 0000000000000000000000000000000000000000000000000000000000000000 >config.json
manifest_with lying a.tar application/vnd.oci.image.layer.v1.tar
config "$arch" "$(sha a.tar)" >config.json
manifest_with plain a.tar application/vnd.docker.image.rootfs.diff.tar
if command -v zstd >/dev/null; then
	zstd -q a.tar -o layer.zst
	manifest_with zstd layer.zst application/vnd.oci.image.layer.v1.tar+zstd
fi
head -c 3000000 /dev/zero >big
tar -cf big.tar big
layout bomb "$arch" big.tar

# One index for two platforms inside the layout's.
cp -r plain multi
other=$(sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p' foreign/index.json)
mine=$(sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p' plain/index.json)
cp foreign/blobs/sha256/* multi/blobs/sha256/
cat >inner.json <<END
{"schemaVersion":2,"manifests":[
{"digest":"sha256:$other","platform":{"architecture":"$foreign","os":"linux"}},
{"digest":"sha256:$mine","platform":{"architecture":"$arch","os":"linux"}},
{"digest":"sha256:$other","platform":{"architecture":"unknown","os":"unknown"}}]}
END
i=$(blob multi inner.json)
cat >multi/index.json <<END
{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:$i","size":1}]}
END

# Docker archives: old form, compressed, and a tar of the layout.
mkdir docker
config "$arch" "$(sha a.tar)" "$(sha b.tar)" >config.json
c=$(sha config.json)
cp config.json "docker/$c.json"
mkdir docker/l1 docker/l2
cp a.tar docker/l1/layer.tar
cp b.tar docker/shared.tar
ln -s ../shared.tar docker/l2/layer.tar
echo "[{\"Config\":\"$c.json\",\"RepoTags\":[\"localhost/bb:1\"],\"Layers\":[\"l1/layer.tar\",\"l2/layer.tar\"]}]" \
	>docker/manifest.json
tar -C docker -cf docker.tar .
gzip -c docker.tar >docker.tar.gz
tar -C good -cf layout.tar .
echo "not an archive" >junk.tar
tar -cf nomanifest.tar evil
head -c 5000 docker.tar >short.tar

# The same by the tools that people use.
if command -v skopeo >/dev/null; then
	skopeo --insecure-policy copy -q oci:good:one docker-archive:skopeo.tar:localhost/good:1 >/dev/null 2>&1 || rm -f skopeo.tar
	skopeo --insecure-policy copy -q oci:good:one oci:skopeo:two >/dev/null 2>&1 || rm -rf skopeo
fi
if command -v umoci >/dev/null; then
	umoci init --layout umoci && umoci new --image umoci:x && umoci config --image umoci:x --config.cmd /bin/true &&
		umoci unpack --rootless --image umoci:x ub && echo hi >ub/rootfs/hi && umoci repack --image umoci:x ub ||
		rm -rf umoci
fi >/dev/null 2>&1
exit 0
