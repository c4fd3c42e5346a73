import { chmod, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE, need, once } from '../real/servers/install.ts';

// Debian's and PyPI's packages, unpacked into the cache: nothing is installed on this machine, and nothing upgraded.

const AWS_SAM_CLI = '1.170.0';
const TOOLS = 'image-tools';
const DEBIAN_PACKAGES = ['buildah', 'debootstrap', 'debian-archive-keyring', 'patchelf'];

/** @returns a folder with Debian's `buildah` and `debootstrap`, laid out as a root file system is */
export function installTools(): Promise<string> {
  return once(TOOLS, async (folder) => {
    const [archives, root] = [join(folder, 'archives'), join(folder, 'root')];
    await mkdir(join(archives, 'partial'), { recursive: true });
    const download = () =>
      apt(
        ...['install', '--yes', '--no-install-recommends', '--reinstall', '--download-only'],
        ...['-o', `Dir::Cache::archives=${archives}`, '-o', 'APT::Sandbox::User=root'],
        ...DEBIAN_PACKAGES,
      );
    // Fresh machines have no package lists yet.
    await download().catch(() => apt('update').then(download));
    for (const name of await readdir(archives)) {
      if (name.endsWith('.deb')) await need('dpkg-deb', ['-x', join(archives, name), root], 'Debian (dpkg)');
    }

    // buildah calls itself again without our environment, so its libraries must be found without LD_LIBRARY_PATH.
    const libraries = (await readdir(join(root, 'usr/lib'))).find((name) => name.endsWith('-linux-gnu'))!;
    const patchelf = join(root, 'usr/bin/patchelf');
    const rpath = join(CACHE, TOOLS, 'usr/lib', libraries);
    await need(patchelf, ['--set-rpath', rpath, join(root, 'usr/bin/buildah')], 'patchelf');
    await writeFile(join(root, 'policy.json'), '{"default": [{"type": "insecureAcceptAnything"}]}');
    return root;
  });
}

/** @returns the Lambda Runtime Interface Emulator: Amazon's own binary, which the SAM command line carries */
export function installEmulator(): Promise<string> {
  return once(`aws-lambda-rie-${AWS_SAM_CLI}`, async (folder) => {
    const wheel = [`aws-sam-cli==${AWS_SAM_CLI}`, '--no-deps', '--quiet', '--dest', folder];
    await need('python3', ['-m', 'pip', 'download', ...wheel], 'Python 3 with pip (python3-pip)');
    const archive = (await readdir(folder)).find((name) => name.endsWith('.whl'))!;
    await need('python3', ['-m', 'zipfile', '-e', join(folder, archive), folder], 'Python 3');
    const architecture = process.arch === 'x64' ? 'x86_64' : process.arch;
    const emulator = join(folder, 'emulator');
    await rename(join(folder, `samcli/local/rapid/aws-lambda-rie-${architecture}`), emulator);
    await chmod(emulator, 0o755);
    return emulator;
  });
}

const apt = (...args: string[]) => need('apt-get', args, 'apt-get: Debian, or a relative of it');
