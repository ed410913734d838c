# SPDX-License-Identifier: BSD-3-Clause

# MEMEXPOSE_WARNINGS(FLAGS)
# -------------------------
# Put those of FLAGS that the compiler knows into WARN_CFLAGS.  -Werror makes
# clang reject what it does not know.
AC_DEFUN([MEMEXPOSE_WARNINGS],
[WARN_CFLAGS=
memexpose_saved_CFLAGS=$CFLAGS
for memexpose_flag in $1; do
    AC_MSG_CHECKING([whether $CC knows $memexpose_flag])
    CFLAGS="$memexpose_saved_CFLAGS -Werror $memexpose_flag"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([int memexpose_probe;])],
        [AC_MSG_RESULT([yes])
         WARN_CFLAGS="$WARN_CFLAGS $memexpose_flag"],
        [AC_MSG_RESULT([no])])
done
CFLAGS=$memexpose_saved_CFLAGS
AC_SUBST([WARN_CFLAGS])])

# MEMEXPOSE_REQUIRE_FLAGS(FLAGS)
# ------------------------------
# Stop unless a program can be compiled and linked with FLAGS.
AC_DEFUN([MEMEXPOSE_REQUIRE_FLAGS],
[AC_MSG_CHECKING([whether $CC can link with $1])
memexpose_saved_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $1"
AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([$CC cannot link with $1])])
CFLAGS=$memexpose_saved_CFLAGS])

# MEMEXPOSE_LINKER_FLAG(FLAG, IF-KNOWN)
# -------------------------------------
AC_DEFUN([MEMEXPOSE_LINKER_FLAG],
[AC_MSG_CHECKING([whether the linker knows $1])
memexpose_saved_LDFLAGS=$LDFLAGS
LDFLAGS="$LDFLAGS $1"
AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
    [AC_MSG_RESULT([yes])
     $2],
    [AC_MSG_RESULT([no])])
LDFLAGS=$memexpose_saved_LDFLAGS])

# MEMEXPOSE_VERSION_SCRIPT
# ------------------------
# Define the conditional HAVE_VERSION_SCRIPT.
AC_DEFUN([MEMEXPOSE_VERSION_SCRIPT],
[AC_MSG_CHECKING([whether the linker takes a version script])
memexpose_saved_LDFLAGS=$LDFLAGS
echo 'V { global: main; local: *; };' > conftest.map
LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [memexpose_version_script=yes],
    [memexpose_version_script=no])
LDFLAGS=$memexpose_saved_LDFLAGS
rm -f conftest.map
AC_MSG_RESULT([$memexpose_version_script])
AM_CONDITIONAL([HAVE_VERSION_SCRIPT],
    [test "x$memexpose_version_script" = xyes])])
