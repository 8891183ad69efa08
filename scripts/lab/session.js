// The vendor's CLI in one process for many commands: one start of it takes half a minute in the emulated guest, and a command
// then seconds. Reads one command a line, {"args":[...]}, and answers each with one line, {"code":N,"out":"...","ms":N}.
//
//   node session.js FOLDER      FOLDER has the CLI's node_modules
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const cli = path.join(process.argv[2], 'node_modules/particle-cli');
const CLI = require(path.join(cli, 'src/app/cli.js'));
const settings = require(path.join(cli, 'settings.js'));

const answer = (value) => fs.writeSync(1, JSON.stringify(value) + '\n');

// What a command prints is part of its answer.
let printed = '';
for (const stream of [process.stdout, process.stderr]) {
	stream.write = (chunk, encoding, done) => {
		printed += chunk;
		const callback = typeof encoding === 'function' ? encoding : done;
		if (callback) {
			callback();
		}
		return true;
	};
}

// A command that ends the program ends itself alone.
class Exit extends Error {
	constructor(code) {
		super(`exit ${code}`);
		this.code = code;
	}
}
process.exit = (code) => {
	throw new Exit(code === undefined ? 0 : code);
};
process.on('uncaughtException', (error) => {
	printed += `uncaught: ${error.stack}\n`;
});

async function perform(args) {
	process.argv = ['node', 'particle', ...args];
	process.removeAllListeners('unhandledRejection');
	// A process of the CLI is made for one command: what the last one put into its settings does not reach the next by itself.
	settings.whichProfile();
	Object.assign(settings, JSON.parse(fs.readFileSync(settings.findOverridesFile())));
	printed = '';
	const started = Date.now();
	let code = 0;
	try {
		await new CLI().run(process.argv);
	} catch (error) {
		code = error instanceof Exit ? error.code : -1;
		if (code === -1) {
			printed += `${error.stack}\n`;
		}
	}
	answer({ code, out: printed, ms: Date.now() - started });
}

(async () => {
	global.verboseLevel = 1;
	answer({ ready: require(path.join(cli, 'package.json')).version, node: process.version });
	for await (const line of readline.createInterface({ input: process.stdin })) {
		await perform(JSON.parse(line).args);
	}
	process.reallyExit(0);
})();
