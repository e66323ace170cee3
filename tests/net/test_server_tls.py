from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.logger import capturedLogs

from mailgw.net.server_tls import CertificateFiles, ServerTls, certificate_faults, is_exposed, load_context
from tests.config.making import make_certificate, make_encrypted_key


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    make_certificate(tmp_path)
    return CertificateFiles(str(tmp_path / "fullchain.pem"), str(tmp_path / "privkey.pem"))


def key_fault(files: CertificateFiles) -> str:
    faults = certificate_faults(files)
    assert set(faults) == {"private_key"}
    with pytest.raises(ValueError, match="privkey") as caught:
        load_context(files)
    assert str(caught.value) == faults["private_key"]
    return faults["private_key"].removeprefix(f"{files.private_key}: ")


def test_a_pair_is_good(files: CertificateFiles) -> None:
    assert certificate_faults(files) == {}
    load_context(files)


def test_an_encrypted_key_asks_nobody(files: CertificateFiles) -> None:
    make_encrypted_key(Path(files.private_key))  # the test would hang
    assert key_fault(files) == (
        f"the key is encrypted; decrypt it with: openssl pkey -in {files.private_key} -out PLAIN"
    )


def test_junk_is_not_the_key_of_another_certificate(files: CertificateFiles, tmp_path: Path) -> None:
    Path(files.private_key).write_text("junk")
    assert key_fault(files) == "not a PEM private key"
    make_certificate(tmp_path, "other-")
    Path(files.private_key).write_bytes((tmp_path / "other-privkey.pem").read_bytes())
    assert key_fault(files) == f"does not belong to {files.certificate}"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    Path(files.private_key).write_bytes(rsa.generate_private_key(65537, 1024).private_bytes(*form))
    assert key_fault(files) == f"does not belong to {files.certificate}"


def test_a_key_that_everybody_may_read(files: CertificateFiles) -> None:
    for mode, exposed in ((0o600, False), (0o640, False), (0o644, True)):
        Path(files.private_key).chmod(mode)
        assert is_exposed(files.private_key) == exposed
    with capturedLogs() as logged:
        ServerTls(files, {})
    assert [event["path"] for event in logged] == [files.private_key]


def test_both_files_are_looked_at(files: CertificateFiles) -> None:
    Path(files.certificate).write_text("junk")
    assert set(certificate_faults(files)) == {"certificate"}
    Path(files.private_key).unlink()
    assert set(certificate_faults(files)) == {"certificate", "private_key"}
    Path(files.certificate).unlink()
    Path(files.certificate).mkdir()
    assert "Is a directory" in certificate_faults(files)["certificate"]


def test_one_file_for_both(files: CertificateFiles) -> None:
    both = CertificateFiles(files.certificate, files.certificate)
    assert set(certificate_faults(both)) == {"private_key"}
    Path(files.certificate).write_bytes(Path(files.certificate).read_bytes() + Path(files.private_key).read_bytes())
    assert certificate_faults(both) == {}
    Path(files.certificate).unlink()
    assert set(certificate_faults(both)) == {"certificate"}


def test_an_encrypted_key_leaves_the_old_one_in_force(files: CertificateFiles) -> None:
    tls = ServerTls(files, {})
    make_encrypted_key(Path(files.private_key))
    assert not tls.reload()
    assert tls.serverConnectionForTLS(None)  # type: ignore[arg-type]  # it is not looked at
    assert not tls.reload()
