# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for passt, pasta and pesto: options come from --help, so that this
# file knows nothing that the option table does not
#
# Install as /usr/share/bash-completion/completions/passt, link the others to it.

# The options of $1, one a line; with = after those that take an argument
_passt_options()
{
	"$1" --help 2>/dev/null | awk '
		/^  (-., |    )--/ {
			sub(/^ +/, "")
			sub(/  .*/, "")
			n = split($0, word, /,? +/)
			end = word[n] ~ /^-/ ? "" : "="
			for (i = 1; i <= n; i++)
				if (word[i] ~ /^-/)
					print word[i] end
		}'
}

# Words for the argument of option $1
_passt_argument()
{
	case $1 in
	-l|--log-file|-p|--pcap|-P|--pid|-s|--socket|--socket-path|-c|\
	--conf-path|--repair-path|--metrics-socket|--userns)
		compopt -o filenames
		compgen -f -- "$cur"
		;;
	--tftp)
		compopt -o filenames
		compgen -d -- "$cur"
		;;
	--netns)
		compopt -o filenames
		compgen -W "$(ls /run/netns 2>/dev/null)" -- "$cur"
		compgen -f -- "$cur"
		;;
	-i|--interface|--outbound-if4|--outbound-if6)
		compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$cur"
		;;
	--runas)
		compgen -u -- "$cur"
		;;
	-t|--tcp-ports|-u|--udp-ports)
		compgen -W "none all $([[ $cmd = *pasta* ]] && echo auto)" \
			-- "$cur"
		;;
	-T|--tcp-ns|-U|--udp-ns)
		compgen -W "none auto" -- "$cur"
		;;
	-D|--dns|-S|--search|--map-host-loopback|--map-guest-addr)
		compgen -W "none" -- "$cur"
		;;
	*)
		return 0
		;;
	esac
}

_passt()
{
	local cmd=$1 cur=${COMP_WORDS[COMP_CWORD]} prev= options i word

	COMPREPLY=()
	options=$(_passt_options "$cmd")
	# readline splits --option=value into three words
	((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
	if [[ $cur = = ]]; then
		cur=
	elif [[ $prev = = ]] && ((COMP_CWORD > 1)); then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi

	# What follows a command word of pasta is the command's
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		[[ $word = = ]] && ((i++)) && continue
		if [[ $word != -* ]]; then
			[[ $cmd = *pasta* ]] || return 0
			if declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return 0
		fi
		_passt_takes "$word" && [[ ${COMP_WORDS[i + 1]} != = ]] && ((i++))
	done

	if _passt_takes "$prev"; then
		mapfile -t COMPREPLY < <(_passt_argument "$prev")
	elif [[ $cur = -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${options//=/}" -- "$cur")
	elif [[ $cmd = *pasta* ]]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur"
			[[ $cur != *[!0-9]* ]] &&
				compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$cur")
	fi
}

# Does option $1 take an argument?  Reads $options of its caller.
_passt_takes()
{
	[[ $1 = -* && $'\n'$options$'\n' = *$'\n'"$1="$'\n'* ]]
}

complete -F _passt passt pasta pesto
