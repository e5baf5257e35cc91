# SPDX-License-Identifier: GPL-2.0-or-later
#
# nix-build contrib/nix, or callPackage it with another source
{ pkgs ? import <nixpkgs> { }, src ? ../.. }:

pkgs.stdenv.mkDerivation {
  pname = "passt2";
  version =
    if builtins.pathExists (src + "/VERSION")
    then pkgs.lib.fileContents (src + "/VERSION")
    else "0-unreleased";
  inherit src;

  nativeBuildInputs = [ pkgs.gawk ];
  nativeCheckInputs = [ pkgs.cmocka ];
  makeFlags = [ "prefix=${placeholder "out"}" ];
  enableParallelBuilding = true;

  # Without namespaces, network and privileges
  doCheck = true;
  checkTarget = "check";

  meta = {
    description = "User-mode network for virtual machines and namespaces";
    license = pkgs.lib.licenses.gpl2Plus;
    platforms = pkgs.lib.platforms.linux;
    mainProgram = "pasta";
  };
}
