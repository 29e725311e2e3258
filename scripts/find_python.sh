#!/bin/sh
# Prints the interpreter of a minor version (`find_python.sh 3.12`): the one of the PATH, else pyenv's. Exit code 1 where this
# machine has none that can make environments.
for python in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
  # pyenv puts commands on the PATH that say only which versions there are.
  if "$python" -c "import ensurepip, venv" 2>/dev/null; then
    echo "$python"
    exit
  fi
done
exit 1
