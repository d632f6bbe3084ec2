# SPDX-License-Identifier: Apache-2.0
"""Images and registries."""

from __future__ import annotations

from hypercell.api.openapi.operation import (
    NO_CONTENT,
    Descriptions,
    Operation,
    Parameter,
    filters,
    flag,
    integer,
    json,
    lines,
    raw,
    text,
    texts,
)
from hypercell.api.openapi.schema import INTEGER, TEXT, TEXTS, listed, maybe, named, record

_TAR = "application/x-tar"
_CREDENTIALS = (Parameter("X-Registry-Auth", TEXT, "base64url of JSON: username, password, or a token"),)
_PROGRESS = lines("how it goes, one document a line; an error in the middle is one of them")
_PLATFORM = text("platform", "`linux/amd64`")
_PLATFORMS = texts("platform", "JSON: os, architecture, variant")
OPERATIONS: Descriptions = {
    "GET /images/json": Operation(
        "List images",
        {200: json(listed(named("ImageSummary")))},
        (404,),
        (
            flag("all", "the steps of builds too"),
            flag("shared-size", "say how much of each is others' too"),
            filters("before", "dangling", "label", "reference", "since", "until"),
            text("filter", "before API 1.41"),
        ),
    ),
    "POST /build": Operation(
        "Build an image from a Dockerfile and its context",
        {200: lines("what is said and written, and the ids of what is made; an error in the middle is one of them")},
        (401, 404, 409, 500, 501, 503),
        (
            text("dockerfile", "its path in the context; `Dockerfile`"),
            texts("t", "names of the image"),
            text("buildargs", "JSON: an object of strings and null"),
            text("labels", "JSON: an object of strings"),
            text("target", "the stage that is to be built"),
            flag("nocache", "carry out every step"),
            flag("pull", "ask registries for newer images"),
            flag("q", "say the id alone"),
            flag("rm", "say that containers are removed; usual"),
            text("platform", "`linux/amd64`"),
            integer("memory", "bytes, of each command"),
            integer("memswap"),
            integer("cpushares"),
            integer("cpuperiod"),
            integer("cpuquota"),
            integer("shmsize"),
            text("ulimits", "JSON: a list of Name, Soft, Hard"),
            text("networkmode", "`default` or `none`"),
            texts("extrahosts", "`name:address`"),
            text("version", "`1`: BuildKit is not built"),
            flag("squash", "not built"),
            text("remote", "not built"),
            text("outputs", "not built"),
            text("cpusetcpus", "not built"),
            text("cpusetmems", "not built"),
            text("securityopt", "not built"),
        ),
        (Parameter("X-Registry-Config", TEXT, "base64url of JSON: credentials by registry"),),
        raw(_TAR, "application/octet-stream"),
    ),
    "POST /build/prune": Operation(
        "Remove what builds have cached",
        {200: json(record({"CachesDeleted": maybe(TEXTS), "SpaceReclaimed": INTEGER}))},
        query=(
            flag("all", "what other images were made of too"),
            integer("reserved-space", "bytes that may always stay"),
            integer("keep-storage", "the older name of `reserved-space`"),
            integer("max-used-space", "bytes, of which no more stay"),
            integer("min-free-space", "bytes of the disk that are to be free afterwards"),
            filters(
                *("description", "id", "inuse", "label", "label!", "parent", "private", "shared", "type"),
                *("unused-for", "until"),
            ),
        ),
    ),
    "POST /images/create": Operation(
        "Pull an image, or import a root file system",
        {200: _PROGRESS},
        (401, 404, 409, 500, 501, 503),
        (
            text("fromImage", "name of what is pulled"),
            text("tag", "of what is pulled or imported, or a digest; none here or in the name: all tags are pulled"),
            text("fromSrc", "`-`: the body is imported; a URL (http, https): what is there"),
            text("repo", "name of what is imported"),
            text("message"),
            texts("changes", "instructions of a Dockerfile for what is imported"),
            _PLATFORM,
        ),
        _CREDENTIALS,
        raw(_TAR, "application/octet-stream", "text/plain"),
    ),
    "POST /images/load": Operation(
        "Load the images of a docker or OCI archive",
        {200: _PROGRESS},
        (501,),
        (flag("quiet"), _PLATFORMS),
        body=raw(_TAR, "application/octet-stream"),
    ),
    "POST /images/prune": Operation(
        "Remove the images that no container uses",
        {200: json(record({"ImagesDeleted": maybe(named("Removed")), "SpaceReclaimed": INTEGER}))},
        query=(filters("dangling", "label", "label!", "until"),),
    ),
    "GET /images/get": Operation(
        "An archive of images", {200: raw(_TAR)}, (404, 501), (texts("names", required=True), _PLATFORMS)
    ),
    "GET /images/{name}/get": Operation("An archive of one image", {200: raw(_TAR)}, (404, 501), (_PLATFORMS,)),
    "GET /images/{name}/json": Operation(
        "Inspect an image",
        {200: json(named("ImageInspection"))},
        (404,),
        (
            flag("manifests", "adds nothing: an image is kept for one platform"),
            text("platform", "JSON: os, architecture, variant; 404 unless the image is for it"),
        ),
    ),
    "GET /images/{name}/history": Operation(
        "How an image was made",
        {200: json(named("History"))},
        (404, 500),
        (text("platform", "JSON: os, architecture, variant; 404 unless the image is for it"),),
    ),
    "POST /images/{name}/push": Operation(
        "Push an image to the registry that its name gives",
        {200: _PROGRESS},
        (401, 404, 500, 501, 503),
        (text("tag", "without, all tags of the repository"), text("platform", "JSON: os, architecture, variant")),
        _CREDENTIALS,
    ),
    "POST /images/{name}/tag": Operation(
        "Give an image a name", {201: NO_CONTENT}, (404, 409), (text("repo", required=True), text("tag"))
    ),
    "DELETE /images/{name}": Operation(
        "Take a name away, and the image with its last one",
        {200: json(named("Removed"))},
        (404, 409, 501),
        (flag("force"), flag("noprune"), text("platforms")),
    ),
    "POST /auth": Operation(
        "Log in at a registry",
        {200: json(record({"Status": TEXT, "IdentityToken": TEXT}))},
        (401, 404, 500, 501, 503),
        body=json(named("Credentials")),
    ),
    "GET /distribution/{name}/json": Operation(
        "What a registry has under a name", {200: json(named("Distribution"))}, (401, 404, 500, 503), (), _CREDENTIALS
    ),
    "GET /images/search": Operation(
        "Search a registry",
        {200: json(named("FoundImages"))},
        (401, 404, 500, 503),
        (text("term", required=True), integer("limit"), filters("is-automated", "is-official", "stars")),
        _CREDENTIALS,
    ),
}
