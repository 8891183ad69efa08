//! Key files as other programs write them: private ones are refused where a public one is asked for, and read where a
//! private one is.

use super::*;

/// One pair in every form that a person may hold it in.
#[test]
fn private_files_of_openssl_are_known_in_every_form() {
    let Some(openssl) = Program::find("openssl") else { return };
    for (kind, make, traditional) in [
        (
            KeyKind::Rsa1024,
            &["genrsa", "-traditional", "-out", "plain.pem", "1024"][..],
            PrivateForm::Pkcs1,
        ),
        (
            KeyKind::P256,
            &["ecparam", "-name", "prime256v1", "-genkey", "-out", "plain.pem"][..],
            PrivateForm::Sec1,
        ),
    ] {
        openssl.run(make).unwrap();
        let public = openssl.run(&["pkey", "-in", "plain.pem", "-pubout"]).unwrap();
        let wanted = parse_public(&public).unwrap();
        let tool = if kind == KeyKind::P256 { "ec" } else { "rsa" };
        let topk8 = ["pkcs8", "-topk8", "-in", "plain.pem"];
        let old_rule: &[&str] = if kind == KeyKind::P256 { &[] } else { &["-traditional"] };
        let run = |args: &[&[&str]]| openssl.run(&args.concat()).unwrap();

        let plain = openssl.get("plain.pem");
        let der = run(&[&[tool, "-in", "plain.pem", "-outform", "DER"], old_rule]);
        let read = [
            (plain.clone(), traditional),
            (der.clone(), traditional),
            ([&der[..], &[0xff; 91]].concat(), PrivateForm::Slot),
            (run(&[&topk8, &["-nocrypt"]]), PrivateForm::Pkcs8),
            (run(&[&topk8, &["-nocrypt", "-outform", "DER"]]), PrivateForm::Pkcs8),
            ([&public[..], &plain].concat(), traditional),
        ];
        for (file, form) in read {
            assert_eq!(parse_public(&file), Err(PublicKeyError::Private { form }), "{kind}");
            let key = read_private(&file, kind).unwrap_or_else(|error| panic!("{kind}, {form}: {error}"));
            assert_eq!(key.public(), wanted, "{kind}, {form}");
        }

        let password = ["-passout", "pass:x"];
        let scheme = ["-v1", "PBE-SHA1-3DES"];
        openssl
            .run(&["req", "-x509", "-key", "plain.pem", "-subj", "/CN=x", "-out", "cert.pem"])
            .unwrap();
        let store = ["pkcs12", "-export", "-in", "cert.pem", "-inkey", "plain.pem"];
        let sealed = [
            (run(&[&topk8, &password]), PrivateForm::Encrypted),
            (run(&[&topk8, &password, &["-outform", "DER"]]), PrivateForm::Encrypted),
            (
                run(&[&topk8, &password, &scheme, &["-outform", "DER"]]),
                PrivateForm::Encrypted,
            ),
            (
                run(&[&[tool, "-in", "plain.pem", "-aes128"], &password[..], old_rule]),
                PrivateForm::Encrypted,
            ),
            (run(&[&store, &password]), PrivateForm::Pkcs12),
        ];
        for (file, form) in sealed {
            assert_eq!(parse_public(&file), Err(PublicKeyError::Private { form }), "{kind}");
            assert_eq!(
                read_private(&file, kind).unwrap_err(),
                PrivateFileError::Form { form },
                "{kind}"
            );
        }
        assert_eq!(read_private(&public, kind).unwrap_err(), PrivateFileError::Public);
        let certificate = openssl.get("cert.pem");
        assert_eq!(parse_public(&certificate), Err(PublicKeyError::Pem), "{kind}");
    }
}

#[test]
fn private_files_of_openssh_are_refused_by_name() {
    let Some(keygen) = Program::find("ssh-keygen") else { return };
    for (name, kind) in [("rsa", "rsa"), ("ec", "ecdsa")] {
        keygen.run(&["-q", "-t", kind, "-N", "", "-C", "x", "-f", name]).unwrap();
        let form = PrivateForm::OpenSsh;
        let file = keygen.get(name);
        assert_eq!(parse_public(&file), Err(PublicKeyError::Private { form }), "{kind}");
        assert_eq!(
            read_private(&file, KeyKind::P256).unwrap_err(),
            PrivateFileError::Form { form }
        );
    }
}
