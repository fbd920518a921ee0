//! stub
pub(crate) fn run(_: &[String]) -> anyhow::Result<()> {
    Ok(())
}
pub(crate) fn inner(_: &[String]) -> anyhow::Result<()> {
    Ok(())
}
pub(crate) fn peer(_: &[String]) -> anyhow::Result<()> {
    Ok(())
}
