# SPDX-License-Identifier: Apache-2.0
# From apt's entries for packages (one line each, or paragraphs) to those for their sources.
/^deb-src[[:space:]]/d
s/^deb([[:space:]])/deb-src\1/
s/^Types:.*/Types: deb-src/
